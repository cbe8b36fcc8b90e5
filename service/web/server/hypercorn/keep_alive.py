"""The end of idle connections: after `keep_alive_timeout`, and at once when the server ends.

Hypercorn 0.18 has a task for each idle connection, which waits for both.
The last response starts it, so that it keeps that request's context variables, with the request
and its response; and as all these tasks wait for one event, each request begins with a search of
its list of waiters, which is as long as there are idle connections.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from hypercorn.asyncio.worker_context import EventWrapper, WorkerContext

from service.web.server.timers import call_later


class Terminated(EventWrapper):
    """The event that the server ends, which closes its idle connections."""

    def __init__(self) -> None:
        super().__init__()
        self.idle: Final[set[KeepAliveTimer]] = set()

    async def set(self) -> None:
        """Begin the end."""
        await super().set()
        for timer in list(self.idle):
            timer.close()


class KeepAliveTimer:
    """The timer of one connection, in the place and with the methods of Hypercorn's task."""

    __slots__ = ("_seconds", "_terminated", "_timer", "close")

    def __init__(self, seconds: float, terminated: Terminated, close: Callable[[], None]) -> None:
        self._seconds = seconds
        self._terminated = terminated
        self._timer: asyncio.TimerHandle | None = None
        self.close = close

    async def restart(self, *_task: Any) -> None:
        """Close the connection after the timeout, if it is idle until then."""
        await self.stop()
        seconds = 0 if self._terminated.is_set() else self._seconds
        self._timer = call_later(seconds, self.close)
        self._terminated.idle.add(self)

    async def stop(self) -> None:
        """Keep the connection open: it is not idle, or closed already."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._terminated.idle.discard(self)


class KeepAliveContext(WorkerContext):
    """Hypercorn's context of a server, with that event."""

    terminated: Terminated

    def __init__(self, max_requests: int | None) -> None:
        super().__init__(max_requests)
        self.terminated = Terminated()
