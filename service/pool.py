"""The pool of database connections: fixed, its queue bounded, and spared by clients that leave."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, NamedTuple, Self

from sqlalchemy import event
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, PoolProxiedConnection

from service.errors import Unavailable

# Requests that may wait for each connection. At 2 ms a statement the last one waits 40 ms; when
# statements take seconds, a longer queue would only fail later.
WAITING_PER_CONNECTION: Final = 20


class Usage(NamedTuple):
    """The pool at this moment: its connections, those in use, and the requests that wait."""

    size: int
    in_use: int
    waiting: int


class BoundedPool(AsyncAdaptedQueuePool):
    """A pool that refuses at once when too many wait for it already."""

    waiting = 0

    def connect(self) -> PoolProxiedConnection:
        """Take a connection. Raises Unavailable, or TimeoutError after the pool's timeout."""
        if self.waiting >= WAITING_PER_CONNECTION * self.size():
            raise Unavailable("The service is busy")
        self.waiting += 1
        try:
            return super().connect()
        finally:
            self.waiting -= 1

    def usage(self) -> Usage:
        """Tell how much of it is in use."""
        return Usage(self.size(), self.checkedout(), self.waiting)


class Hold:
    """The connections that one request has taken, or is opening."""

    def __init__(self) -> None:
        self._count = 0
        self._released: asyncio.Future[None] | None = None

    @classmethod
    def of_this_task(cls) -> Self:
        """Count for this task and those that it starts from now on."""
        hold = cls()
        _hold.set(hold)
        return hold

    def take(self) -> None:
        self._count += 1

    def give_back(self) -> None:
        self._count -= 1
        if self._count == 0 and self._released is not None and not self._released.done():
            self._released.set_result(None)

    async def released(self) -> None:
        """Wait until none is held; for one task at a time."""
        while self._count:
            self._released = asyncio.get_running_loop().create_future()
            await self._released


_hold: Final[ContextVar[Hold | None]] = ContextVar("hold", default=None)


@contextmanager
def opening() -> Iterator[None]:
    """Hold the connection that is being opened: given up half-way, it would be for nothing."""
    hold = _hold.get()
    if hold is None:
        yield
        return
    hold.take()
    try:
        yield
    finally:
        hold.give_back()


def watch(engine: AsyncEngine) -> None:
    """Count what requests hold, and leave connections that no longer answer."""
    event.listen(engine.sync_engine, "checkout", _taken)
    event.listen(engine.sync_engine, "checkin", _given_back)
    event.listen(engine.sync_engine, "handle_error", _failed)


def _taken(driver: Any, record: ConnectionPoolEntry, _proxy: PoolProxiedConnection) -> None:
    # The server was restarted meanwhile: the pool then opens another connection instead.
    if driver.driver_connection.is_closed():
        raise DisconnectionError
    if hold := _hold.get():
        hold.take()
        record.info["hold"] = hold


def _given_back(_driver: Any, record: ConnectionPoolEntry) -> None:
    if hold := record.info.pop("hold", None):
        hold.give_back()


def _failed(context: ExceptionContext) -> Unavailable | None:
    """Leave a server that is silent (not one that is slow: that one answers with an error).

    The driver would ask it to cancel the statement, and wait for that as long again.
    """
    if not isinstance(context.original_exception, TimeoutError) or context.connection is None:
        return None
    driver = context.connection.connection.driver_connection
    if driver is not None:
        driver.terminate()
    context.is_disconnect = True
    return Unavailable("The database is unavailable")
