"""Calls of external providers: bounded in time, in bytes and in number, whatever they answer.

No database connection may be held meanwhile: a provider may take all of its time.
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from service.auth.external.connection import closed_when_given_up
from service.auth.external.errors import ProviderRefused, ProviderUnavailable
from service.settings.external import is_secure

if TYPE_CHECKING:
    import httpx2

# What is worth a line is logged here.
logging.getLogger("httpx2").setLevel(logging.WARNING)
SECONDS: Final = 5.0  # of a call, altogether
BYTES_MAX: Final = 262_144
BUFFER: Final = 65_536  # bytes, of a connection
AT_ONCE: Final = 20
SUCCEEDED: Final = "succeeded"
REFUSED: Final = "refused"
UNAVAILABLE: Final = "unavailable"
OUTCOMES: Final = (SUCCEEDED, REFUSED, UNAVAILABLE)

log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a provider: a POST of a form when there is one, else a GET."""

    provider: str
    url: str
    form: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None


class ProviderCalls:
    """Calls providers by one HTTP client, which is made at the first call."""

    def __init__(self, providers: list[str], *, production: bool) -> None:
        self._production = production
        self._client: httpx2.AsyncClient | None = None
        self._making = asyncio.Lock()
        self._under_way = 0
        labels = [(name, outcome) for name in providers for outcome in OUTCOMES]
        self.ended: Counter[tuple[str, ...]] = Counter(dict.fromkeys(labels, 0))
        self.seconds: dict[tuple[str, ...], float] = dict.fromkeys(labels, 0.0)

    async def fetch(self, call: Call) -> Any:
        """Return the JSON that a provider answers with 200.

        Raises ProviderRefused when it refuses the request, and ProviderUnavailable for every other
        answer, and for none.
        """
        if self._under_way >= AT_ONCE:
            raise ProviderUnavailable(retry_after=1)
        self._under_way += 1
        started, outcome = perf_counter(), UNAVAILABLE
        try:
            answer = await self._fetch(call)
            outcome = SUCCEEDED
        except ProviderRefused:
            outcome = REFUSED
            raise
        finally:
            self._under_way -= 1
            self.ended[call.provider, outcome] += 1
            self.seconds[call.provider, outcome] += perf_counter() - started
        return answer

    async def _fetch(self, call: Call) -> Any:
        if not is_secure(call.url, production=self._production):
            raise _unavailable(call, "its URL is not of https")
        try:
            client = await self._make_client()
            async with asyncio.timeout(SECONDS):
                status, body = await self._read(client, call)
        except ProviderUnavailable:
            raise
        # The client raises more than its own errors: TypeError, InvalidURL, groups of exceptions.
        except Exception as error:  # noqa: BLE001
            raise _unavailable(call, type(error).__name__) from None
        if status in (408, 425, 429) or not 400 <= status < 500:
            if status != 200:
                raise _unavailable(call, f"status {status}")
        elif status != 200:
            log.warning("external provider refused", provider=call.provider, url=call.url,
                        status=status, error=_error_of(body))  # fmt: skip
            raise ProviderRefused
        try:
            return orjson.loads(body)
        except ValueError:
            raise _unavailable(call, "its answer is not JSON") from None

    async def _read(self, client: "httpx2.AsyncClient", call: Call) -> tuple[int, bytes]:
        method = "GET" if call.form is None else "POST"
        headers = {"Accept": "application/json", **(call.headers or {})}
        data = None if call.form is None else dict(call.form)
        async with (
            closed_when_given_up(_bound_buffer) as trace,
            client.stream(
                method, call.url, data=data, headers=headers, extensions={"trace": trace}
            ) as response,
        ):
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise _unavailable(call, "its answer has a content coding")
            body = bytearray()
            # As it comes: what was not asked for is not decoded.
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > BYTES_MAX:
                    raise _unavailable(call, f"its answer has more than {BYTES_MAX:,} bytes")
            return response.status_code, bytes(body)

    async def _make_client(self) -> "httpx2.AsyncClient":
        async with self._making:
            if self._client is None:
                # In a thread, because the import and the trust store take a tenth of a second.
                self._client = await asyncio.to_thread(_new_client)
        return self._client

    async def close(self) -> None:
        """Close the client's connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _new_client() -> "httpx2.AsyncClient":
    # Here, because most processes never ask a provider, and the import costs start-up time.
    import httpx2

    return httpx2.AsyncClient(
        timeout=SECONDS,
        follow_redirects=False,
        limits=httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=5),
        # It takes no cookie, so that calls have nothing to do with each other.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={"Accept-Encoding": "identity", "User-Agent": "service"},
    )


def _bound_buffer(stream: Any) -> None:
    """Bound what the kernel keeps of an answer, all of which uvloop may read at once."""
    stream.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)


def _unavailable(call: Call, why: str) -> ProviderUnavailable:
    log.warning("external provider unavailable", provider=call.provider, url=call.url, why=why)
    return ProviderUnavailable()


def _error_of(body: bytes) -> str:
    """Return the error's code in a provider's answer (RFC 6749, §5.2), which is no secret."""
    try:
        error = orjson.loads(body)["error"]
    except (ValueError, TypeError, KeyError):
        return ""
    return error[:100] if isinstance(error, str) else ""
