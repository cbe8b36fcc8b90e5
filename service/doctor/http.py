"""Requests that checks make: bounded in time and in bytes, no redirect followed, no proxy used."""

import json
import ssl
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from service.auth.external.connection import closed_when_given_up

SECONDS: Final = 4.0
BYTES_MAX: Final = 4_194_304
# What the client raises, whatever the other side does.
HTTP_ERRORS: Final = (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def member(self, *names: str) -> object:
        """Return a member of the JSON in the body, or None where there is none."""
        try:
            value: Any = json.loads(self.body)
        except ValueError:
            return None
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value


def new_client(
    *, trusting: bool = False, source: str | None = None
) -> AbstractAsyncContextManager[httpx2.AsyncClient]:
    """Make a client; one that is trusting takes any certificate, and `source` is its address."""
    # The authorities of the system take a tenth of a second to read: who trusts all, needs none.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if trusting else ssl.create_default_context()
    if trusting:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    transport = httpx2.AsyncHTTPTransport(verify=context, trust_env=False, local_address=source)
    return httpx2.AsyncClient(
        transport=transport,
        timeout=SECONDS,
        follow_redirects=False,
        trust_env=False,
        headers={"User-Agent": "service doctor"},
    )


async def ask(
    client: httpx2.AsyncClient,
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Return what a server answers. Raises HTTP_ERRORS."""
    async with (
        closed_when_given_up() as trace,
        client.stream(
            method, url, headers=dict(headers or {}), extensions={"trace": trace}
        ) as response,
    ):
        body = bytearray()
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > BYTES_MAX:
                raise ValueError("the answer is too long")
        named = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, named, bytes(body))


def reason_of(error: BaseException) -> str:
    """Return why there was no answer, without the address."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate is not trusted ({cause.verify_message})"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return (
        "no answer in time" if isinstance(error, httpx2.TimeoutException) else type(error).__name__
    )
