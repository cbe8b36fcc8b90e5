"""Who wrote a moment ago, so that each caller sees their own writes by every process.

A write leaves a mark in the server of REDIS_URL, after its commit and before its response. A mark
holds no position of the log: by the time that a process has first read a mark, the write was
committed, so the mark's reader waits until the standby covers that time of its own clock.
"""

import time
from collections import OrderedDict
from math import inf
from typing import Final, NamedTuple

import structlog
from valkey.asyncio import Valkey
from valkey.exceptions import ValkeyError

from service.ids import new_id_text
from service.settings import Settings

# Seconds that a mark lives: more than the lag at which a standby is still read.
LIFETIME: Final = 30
# Seconds for an answer, and for which a server that gave none is not asked again.
TIMEOUT: Final = 0.5
RETRY_DELAY: Final = 1.0
MAX_CALLERS: Final = 100_000  # whose marks are remembered, about 30 MB

log: Final = structlog.get_logger(__name__)


class _Mark(NamedTuple):
    """A mark, and the monotonic time at which this process has first seen it."""

    text: str
    seen: float


class OwnWrites:
    """The marks of callers, in the server of REDIS_URL; without one nothing is known."""

    def __init__(self, settings: Settings) -> None:
        url = settings.redis_url
        self._server: Valkey | None = None
        if url is not None:
            self._server = Valkey.from_url(
                url.get_secret_value(), socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT
            )
        self._marks: OrderedDict[str, _Mark] = OrderedDict()
        self._retry_at = 0.0

    async def note(self, caller: str) -> None:
        """Note that a write of the caller has been committed. Never raises."""
        if self._server is None:
            return
        mark = self._keep(caller, new_id_text())
        if time.monotonic() >= self._retry_at:
            try:
                await self._server.set(_key(caller), mark.text, ex=LIFETIME)
            except (ValkeyError, OSError) as error:
                self._note_failure(error)

    async def last(self, caller: str) -> float:
        """Return a monotonic time before which all writes of the caller were committed.

        It is infinity when that is unknown, and minus infinity when there was none lately.
        """
        if self._server is None or time.monotonic() < self._retry_at:
            return inf
        try:
            text = await self._server.get(_key(caller))
        except (ValkeyError, OSError) as error:
            self._note_failure(error)
            return inf
        mark = self._marks.get(caller)
        if text is not None and (mark is None or mark.text != text.decode()):
            mark = self._keep(caller, text.decode())
        return -inf if mark is None else mark.seen

    async def close(self) -> None:
        """Close the connections to the server."""
        if self._server is not None:
            await self._server.aclose()

    def _keep(self, caller: str, text: str) -> _Mark:
        mark = self._marks[caller] = _Mark(text, time.monotonic())
        self._marks.move_to_end(caller)
        if len(self._marks) > MAX_CALLERS:
            self._marks.popitem(last=False)
        return mark

    def _note_failure(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + RETRY_DELAY
        log.warning(
            "own writes are not shared: the server of REDIS_URL does not answer",
            reason=type(error).__name__,
        )


def _key(caller: str) -> str:
    return f"own-write:{caller}"
