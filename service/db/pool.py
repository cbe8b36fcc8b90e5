"""The pool of database connections: fixed, its queue bounded, and spared by clients that leave."""

import asyncio
import logging
from contextlib import suppress
from contextvars import ContextVar
from time import monotonic
from typing import Any, Final, NamedTuple, Self, cast

from sqlalchemy import event
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import DisconnectionError, InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, PoolProxiedConnection
from sqlalchemy.util import await_only

from service.db.errors import DRIVER_ERRORS, DatabaseUnavailable, is_read_only
from service.db.semaphore import FairSemaphore
from service.errors import Unavailable

# Requests that may wait for each connection. At 2 ms a statement the last one waits 40 ms; when
# statements take seconds, a longer queue would only fail later.
WAITING_PER_CONNECTION: Final = 20

# Of so many connections one is for reads alone, because writes that hang (a synchronous standby is
# away, a table is locked) would hold them all.
CONNECTIONS_PER_READER: Final = 5

# SQLAlchemy names a pool's logger by module and class, and keeps only its own names quiet.
logging.getLogger(__name__).setLevel(logging.WARNING)


class PoolUsage(NamedTuple):
    """The pool at this moment: its connections, those in use, and the requests that wait."""

    size: int
    in_use: int
    waiting: int


class ConnectionTracker:
    """The connections that one request has taken, or is opening."""

    def __init__(self) -> None:
        self._closed = False
        self._count = 0
        self._released: asyncio.Future[None] | None = None

    @classmethod
    def install(cls) -> Self:
        """Return a tracker of what this task, and those that it starts from now on, acquire."""
        tracker = cls()
        _tracker.set(tracker)
        return tracker

    def closed(self) -> bool:
        """Whether no more can be taken: the request is given up."""
        return self._closed

    def acquired(self) -> None:
        self._count += 1

    def released(self) -> None:
        self._count -= 1
        if self._count == 0 and self._released is not None and not self._released.done():
            self._released.set_result(None)

    async def drain(self, seconds: float) -> None:
        """Wait until none is held, or so long; from then on no more can be taken."""
        if self._count:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._until_released()
        self._closed = True

    async def _until_released(self) -> None:
        while self._count:
            self._released = asyncio.get_running_loop().create_future()
            await self._released


_tracker: Final[ContextVar[ConnectionTracker | None]] = ContextVar("tracker", default=None)
# Set while a connection is taken that only reads, and so may be one that is kept for reads.
READING: Final[ContextVar[bool]] = ContextVar("reading", default=False)

Slots = tuple[FairSemaphore, ...]


class TrackedPool(AsyncAdaptedQueuePool):
    """A pool that counts each request's connections, so that a request can end its statement first.

    Requests are served in the order in which they came (see FairSemaphore). The one that is served
    may still have to open the connection; the others wait, and may leave.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.semaphore = FairSemaphore(self.size())
        self.writers = FairSemaphore(self.size() - self.size() // CONNECTIONS_PER_READER)
        self.generation = 0

    def drop(self) -> None:
        """Leave every connection made so far: none is used again."""
        self.generation += 1

    def connect(self) -> PoolProxiedConnection:
        """Take a connection. Raises Unavailable, or TimeoutError after the pool's timeout."""
        slots = (self.semaphore,) if READING.get() else (self.writers, self.semaphore)
        self._acquire(slots)
        tracker = _tracker.get()
        try:
            connection = super().connect() if tracker is None else self._connect_for(tracker)
        except BaseException as error:
            _release(slots)
            # SQLAlchemy prepares a new connection with the bare driver, whose error it passes on,
            # and gives up when the second connection is left, too, before it was taken.
            if isinstance(error, (InvalidRequestError, *DRIVER_ERRORS)):
                raise DatabaseUnavailable from error
            raise
        connection.record_info["taken"] = (slots, tracker)  # type: ignore[index]
        return connection

    def _acquire(self, slots: Slots) -> None:
        remaining = self.timeout()  # for all of them
        for position, semaphore in enumerate(slots):
            if semaphore.acquire_nowait():
                continue
            start = monotonic()
            try:
                await_only(semaphore.acquire(remaining))
            except BaseException as error:
                _release(slots[:position])
                if isinstance(error, TimeoutError):
                    raise PoolTimeoutError("all connections are in use") from None
                raise
            remaining -= monotonic() - start

    def _connect_for(self, tracker: ConnectionTracker) -> PoolProxiedConnection:
        if tracker.closed():
            raise asyncio.CancelledError
        tracker.acquired()
        try:
            return super().connect()
        except BaseException:
            tracker.released()
            raise


class BoundedPool(TrackedPool):
    """A pool that refuses at once when too many wait for it already."""

    def connect(self) -> PoolProxiedConnection:
        """Take a connection. Raises Unavailable, or TimeoutError after the pool's timeout."""
        queue = self.semaphore if READING.get() else self.writers
        if queue.waiting >= WAITING_PER_CONNECTION * self.size():
            raise Unavailable("The service is busy")
        return super().connect()

    def usage(self) -> PoolUsage:
        """Return how much of the pool is in use."""
        waiting = self.semaphore.waiting + self.writers.waiting
        return PoolUsage(self.size(), self.checkedout(), waiting)


def listen(engine: AsyncEngine) -> None:
    """Count what requests give back, and leave connections that are of no more use."""
    # Its pool, a TrackedPool, is another one after the engine was disposed of.
    sync_engine: Any = engine.sync_engine

    def on_connect(_driver: Any, record: ConnectionPoolEntry) -> None:
        record.info["generation"] = sync_engine.pool.generation

    def on_checkout(
        driver: Any, record: ConnectionPoolEntry, _proxy: PoolProxiedConnection
    ) -> None:
        connection = driver.driver_connection
        if record.info["generation"] != sync_engine.pool.generation:
            # The server was left, and a silent one would be waited for at a close.
            connection.terminate()
        # It was closed here, or by a server that was restarted: the pool then opens another one.
        if connection.is_closed():
            raise DisconnectionError

    event.listen(sync_engine, "connect", on_connect)
    event.listen(sync_engine, "checkout", on_checkout)
    event.listen(sync_engine, "checkin", _on_release)
    # What happens to a connection that the collector finds: somebody forgot to give it back.
    event.listen(sync_engine, "detach", _on_release)
    event.listen(sync_engine, "handle_error", _on_error)


def _release(slots: Slots) -> None:
    for semaphore in slots:
        semaphore.release()


def _on_release(_driver: Any, record: ConnectionPoolEntry) -> None:
    if record.record_info and (taken := record.record_info.pop("taken", None)):
        slots, tracker = taken
        for semaphore in slots:
            semaphore.release()
        if tracker is not None:
            tracker.released()


def _on_error(context: ExceptionContext) -> Unavailable | None:
    """Leave a server, with every connection to it, that takes no writes or is silent.

    One that is slow is kept: it answers with an error. The driver would ask a silent one to cancel
    the statement, and wait for that as long again.
    """
    if is_read_only(context.original_exception):
        _leave(context)
        return None
    if not isinstance(context.original_exception, TimeoutError) or context.connection is None:
        return None
    driver = context.connection.connection.driver_connection
    if driver is not None:
        driver.terminate()
    _leave(context)
    return DatabaseUnavailable()


def _leave(context: ExceptionContext) -> None:
    context.is_disconnect = True
    if context.engine is not None:
        # SQLAlchemy would close the other connections, and wait for the server's answer.
        context.invalidate_pool_on_disconnect = False
        cast(TrackedPool, context.engine.pool).drop()
