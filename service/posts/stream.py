"""The event stream of posts, with one reader per process for any number of clients.

Events come from the table; NOTIFY only wakes the reader. It also polls, soon after it found events
and otherwise each second, because a notification may not come: its writer left it to another, or
the connection was lost. Through a PgBouncer in transaction mode none comes, because a session there
is shared by transactions, so the reader does not listen.

A transaction that stays open, also in another database of the same server, holds back the events
of all transactions that began after it. Sessions of this service are ended when they idle; another
one is named in the log after some seconds.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from typing import Final

import structlog

from service import clock
from service.db.cluster import FROM_ANOTHER_CLUSTER, AnotherCluster
from service.db.connecting import Connection
from service.db.engine import Connect, pin_server
from service.db.errors import (
    DRIVER_ERRORS,
    DatabaseUnavailable,
    raise_if_cancelled,
    unavailable_on_driver_error,
)
from service.db.failures import failure_reason
from service.errors import Unavailable
from service.posts.events import (
    CHANNEL,
    Page,
    Position,
    await_replication,
    is_known,
    newest_position,
    read_page,
)
from service.posts.stream_lag import StreamLag
from service.web import sse
from service.web.broadcast import Broadcast, Client, Message

MAX_CLIENTS: Final = 10_000  # of this process
READ_TIMEOUT: Final = 10.0  # seconds for one statement
START_TIMEOUT: Final = 5.0  # seconds that a new client waits for the database
CLOSE_TIMEOUT: Final = 1.0  # seconds
# Seconds between two reads: at least, after one that found events, and at most.
COALESCE: Final = 0.01
SOON: Final = 0.05
LATEST: Final = 1.0
# Seconds between two attempts to connect: at first, and at most.
FIRST_RETRY: Final = 0.1
LAST_RETRY: Final = 5.0
# Clients that may read missed events at the same time; the others wait.
RESUMING: Final = 4

RESET: Final = '{"reload":true}'

log: Final = structlog.get_logger(__name__)


class PostStream:
    """Reads each new event once, and sends it to every client of this process.

    The first client causes the connection, which is not one of the pool.
    """

    def __init__(self, connect: Connect, *, pgbouncer: bool = False) -> None:
        self._connect = connect
        self._pgbouncer = pgbouncer
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._resuming = asyncio.Semaphore(RESUMING)
        self._clients = Broadcast(Message(sse.COMMENT))
        self._position: Position | None = None
        self._ready = asyncio.Event()
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._ended = False
        self._lag = StreamLag()

    @property
    def clients(self) -> int:
        """The number of open streams in this process."""
        return len(self._clients)

    @property
    def lag(self) -> float:
        """The seconds that the oldest event has waited for a transaction to end; 0: none does."""
        return self._lag.seconds

    async def open(
        self, last_event_id: str | None, abort: Callable[[], None]
    ) -> AsyncGenerator[bytes, None]:
        """Return the stream of a client: the events after its last one, then new events.

        `abort` ends the client's connection by force. Raises Unavailable.
        """
        if self._ended:
            raise Unavailable("The service is shutting down")
        if self.clients >= MAX_CLIENTS:
            raise Unavailable("Too many streams are open", retry_after=60)
        await self._start()
        if last_event_id is None:
            return self._from_now(abort)
        position = Position.parse(last_event_id)
        if position is None or not await self._is_known(position):
            return self._from_now(abort, reset=True)
        return self._resume(abort, position)

    def end(self) -> None:
        """End every stream, and refuse new ones."""
        self._ended = True
        self._clients.end_all()

    async def close(self) -> None:
        """Stop the reader, and close its connection."""
        self.end()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # The streams of clients.

    async def _from_now(
        self, abort: Callable[[], None], *, reset: bool = False
    ) -> AsyncGenerator[bytes, None]:
        with self._clients.opened(abort) as client:
            client.live = True
            position = self._position or Position(0, 0)
            if reset:
                yield sse.begin() + sse.event("reset", RESET, position)
            else:
                yield sse.begin(position)
            async for chunk in _live(client, position):
                yield chunk

    async def _resume(
        self, abort: Callable[[], None], position: Position
    ) -> AsyncGenerator[bytes, None]:
        with self._clients.opened(abort) as client:
            yield sse.begin(position)
            while True:
                # Once the client is live, every event after the page read here is in its buffer.
                was_live = client.live
                page = await self._read_missed(position)
                client.took()
                if page is None or client.ended:
                    return
                if page.messages:
                    position = page.messages[-1].position
                    yield b"".join(message.chunk for message in page.messages)
                if not page.full:
                    if was_live:
                        break
                    client.live = True
            async for chunk in _live(client, position):
                yield chunk

    async def _read_missed(self, position: Position) -> Page | None:
        """Return the next events, or None without a database: the client reconnects."""
        try:
            async with self._resuming, self._reading() as connection:
                return await _read_replicated(connection, position)
        except (Unavailable, *DRIVER_ERRORS):
            return None

    async def _is_known(self, position: Position) -> bool:
        with unavailable_on_driver_error():
            async with self._resuming, self._reading() as connection:
                return await is_known(connection, position, clock.now())

    # The reader.

    async def _start(self) -> None:
        if not self._tasks:
            # In contexts of their own, not of the request that happens to be the first.
            self._tasks = [
                asyncio.create_task(work, context=Context())
                for work in (self._run(), self._clients.keep_alive())
            ]
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self._ready.wait()
        except TimeoutError:
            raise DatabaseUnavailable from None

    async def _run(self) -> None:
        retry = FIRST_RETRY
        while True:
            try:
                async with self._connected():
                    await self._find_position()
                    self._ready.set()
                    retry = FIRST_RETRY
                    await self._follow()
            except (Unavailable, *DRIVER_ERRORS) as error:
                reason = failure_reason(error)
                log.warning("stream has lost the database", reason=reason, wait=retry)
            except Exception:  # the next attempt may do better
                log.exception("stream failed", wait=retry)
            raise_if_cancelled()
            await asyncio.sleep(retry)
            retry = min(retry * 2, LAST_RETRY)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        connection = await self._connect()
        try:
            await self._check_cluster(connection)
            if not self._pgbouncer:
                await connection.add_listener(CHANNEL, lambda *_: self._news.set())
            connection.add_termination_listener(lambda _: self._news.set())
            self._connection = connection
            yield
        finally:
            self._ready.clear()
            self._connection = None
            self._lag.note(None)
            with suppress(*DRIVER_ERRORS):
                await connection.close(timeout=CLOSE_TIMEOUT)

    async def _check_cluster(self, connection: Connection) -> None:
        """End every stream and raise AnotherCluster where the events are of no use."""
        async with asyncio.timeout(READ_TIMEOUT), pin_server(connection, self._pgbouncer):
            foreign = await connection.fetchval(FROM_ANOTHER_CLUSTER)
        if foreign:
            self._clients.end_all()
            raise AnotherCluster

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Connection]:
        """Lend the connection, for one statement at a time. Raises Unavailable."""
        async with self._turn:
            if self._connection is None:
                raise DatabaseUnavailable
            async with asyncio.timeout(READ_TIMEOUT), pin_server(self._connection, self._pgbouncer):
                yield self._connection

    async def _find_position(self) -> None:
        """Keep the position if its event still exists, else begin at the newest.

        After a failover that lost events, or once the events began anew on another cluster, clients
        reconnect and get `reset`.
        """
        async with self._reading() as connection:
            position = self._position
            if position is None or not await is_known(connection, position, clock.now()):
                newest = await newest_position(connection)
                await await_replication(connection)
                self._position = newest
                self._clients.end_all()

    async def _follow(self) -> None:
        """Read and publish new events until the connection is lost."""
        wait = SOON
        while True:
            self._news.clear()
            async with self._reading() as connection:
                page = await _read_replicated(connection, self._position or Position(0, 0))
                if self._lag.note(page.oldest_held):
                    await self._lag.warn(connection)
            if page.messages:
                # Clients that become live from here on find these events in the table.
                self._position = page.messages[-1].position
                await self._clients.publish(page.messages)
            if not page.full:
                wait = SOON if page.messages or page.held_back else min(wait * 2, LATEST)
                await self._pause(wait)

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(COALESCE)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()


async def _read_replicated(connection: Connection, after: Position) -> Page:
    page = await read_page(connection, after)
    if page.messages:
        await await_replication(connection)
    return page


async def _live(client: Client, position: Position) -> AsyncGenerator[bytes, None]:
    """Yield what is published after a position, until the stream ends."""
    while messages := await client.receive():
        chunk = b"".join(
            message.chunk
            for message in messages
            if message.position is None or message.position > position
        )
        if chunk:
            yield chunk
