"""The transport of a connection: one timer, writing that waits for the client, and a polite end."""

import asyncio
from collections.abc import Callable
from typing import Any

from service.web.server import bounds
from service.web.server.closing import close
from service.web.server.timers import call_later


class Channel(asyncio.Protocol):
    """A connection as bytes."""

    _transport: Any

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop or asyncio.get_running_loop()
        self._at_eof = False
        # Bytes that were discarded since this side closed its half, or None before that.
        self._discarded: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writable: asyncio.Event | None = None

    def pause_writing(self) -> None:
        """Have the response wait until the client has read."""
        self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        """Have the response go on."""
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    @property
    def is_full(self) -> bool:
        """Whether the client reads more slowly than the response is written."""
        return self._writable is not None

    def write(self, data: bytes) -> None:
        """Send."""
        if not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the client has read most of what was sent, or has left."""
        while self._writable is not None:
            await self._writable.wait()

    def close(self) -> None:
        """End the connection once the client has read what was sent, or reads nothing."""
        close(self._transport)

    def abort(self) -> None:
        """End the connection at once, which cancels its requests."""
        self._transport.abort()

    def _close_half(self) -> None:
        """Close this half of the connection, and the other when the client has read the response.

        RFC 9112, §9.6.
        """
        self._discarded = 0
        if self._at_eof or self._transport.is_closing():
            self.close()
            return
        self._close_in(bounds.DISCARD_TIME)
        if self._transport.can_write_eof():  # not over TLS
            self._transport.write_eof()

    def _discard(self, size: int) -> None:
        """Count what comes after that; too much ends the connection."""
        self._discarded = (self._discarded or 0) + size
        if self._discarded > bounds.MAX_DISCARDED:
            self.close()

    def _close_in(self, seconds: float) -> None:
        self._start_timer(seconds, self.close)

    def _start_timer(self, seconds: float, callback: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = call_later(seconds, callback)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
