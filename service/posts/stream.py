"""The live stream of the posts' events: one reader per process, however many clients.

The table is the truth; NOTIFY only wakes. The reader also looks by itself, soon after it found
something and otherwise each second: so no event waits for a wake-up that never comes (its writer
left that to another one, the connection was lost). Through a PgBouncer in transaction mode none
comes: a session there is nobody's for longer than a transaction, so it listens to nothing.

A transaction that stays open, also in another database of the same server, holds back the events
of all that began after it. Sessions of this service can't: they are ended when they idle.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from typing import Final

import structlog

from service import clock
from service.db.engine import Connect, Connection, pin_server
from service.db.errors import (
    DRIVER_ERRORS,
    DatabaseUnavailable,
    raise_if_cancelled,
    unavailable_on_driver_error,
)
from service.errors import Unavailable
from service.posts.events import CHANNEL, Page, Position, is_known, newest_position, read_page
from service.web import sse
from service.web.broadcast import Broadcast, Client, Message

MAX_CLIENTS: Final = 10_000  # of this process
READ_TIMEOUT: Final = 10.0  # seconds for one statement
START_TIMEOUT: Final = 5.0  # seconds that a new client waits for the database
CLOSE_TIMEOUT: Final = 1.0  # seconds
# Seconds between two looks: at least, after one that found something, at most.
COALESCE: Final = 0.01
SOON: Final = 0.05
LATEST: Final = 1.0
# Seconds between two attempts to connect: at first, and at most.
FIRST_RETRY: Final = 0.1
LAST_RETRY: Final = 5.0
# Clients that read what they missed at the same time; the others wait their turn.
RESUMING: Final = 4

RESET: Final = '{"reload":true}'

log: Final = structlog.get_logger(__name__)


class PostStream:
    """Reads new events once, and sends them to every client of this process.

    It connects, beside the pool, when the first client comes.
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

    @property
    def clients(self) -> int:
        """How many streams are open in this process."""
        return len(self._clients)

    async def open(
        self, last_event_id: str | None, abort: Callable[[], None]
    ) -> AsyncGenerator[bytes, None]:
        """Make a stream of events: what a client missed after its last one, then what comes.

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
        if position is None or not await self._knows(position):
            return self._from_now(abort, reset=True)
        return self._resume(abort, position)

    def end(self) -> None:
        """End every stream at once, for good."""
        self._ended = True
        self._clients.end_all()

    async def close(self) -> None:
        """End the reader and its connection."""
        self.end()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What a client gets.

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
                # Once it is live, all that comes after what it reads here is in its buffer.
                joined = client.live
                page = await self._missed(position)
                client.took()
                if page is None or client.ended:
                    return
                if page.messages:
                    position = page.messages[-1].position
                    yield b"".join(message.chunk for message in page.messages)
                if not page.full:
                    if joined:
                        break
                    client.live = True
            async for chunk in _live(client, position):
                yield chunk

    async def _missed(self, position: Position) -> Page | None:
        """Read on; None when the database is away: the client comes again."""
        try:
            async with self._resuming, self._reading() as connection:
                return await read_page(connection, position)
        except (Unavailable, *DRIVER_ERRORS):
            return None

    async def _knows(self, position: Position) -> bool:
        with unavailable_on_driver_error():
            async with self._resuming, self._reading() as connection:
                return await is_known(connection, position, clock.now())

    # What reads.

    async def _start(self) -> None:
        if not self._tasks:
            # Not in the context of the request that happens to be the first.
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
                    await self._settle()
                    self._ready.set()
                    retry = FIRST_RETRY
                    await self._follow()
            except (Unavailable, *DRIVER_ERRORS) as error:
                reason = type(error.__cause__ or error).__name__
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
            if not self._pgbouncer:
                await connection.add_listener(CHANNEL, lambda *_: self._news.set())
            connection.add_termination_listener(lambda _: self._news.set())
            self._connection = connection
            yield
        finally:
            self._ready.clear()
            self._connection = None
            with suppress(*DRIVER_ERRORS):
                await connection.close(timeout=CLOSE_TIMEOUT)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Connection]:
        """The connection, for one statement at a time. Raises Unavailable."""
        async with self._turn:
            if self._connection is None:
                raise DatabaseUnavailable
            async with asyncio.timeout(READ_TIMEOUT), pin_server(self._connection, self._pgbouncer):
                yield self._connection

    async def _settle(self) -> None:
        """Find where to begin, or that where we were is still there.

        After a fail-over that lost events it is not: the clients come again and are told.
        """
        async with self._reading() as connection:
            position = self._position
            if position is None or not await is_known(connection, position, clock.now()):
                self._position = await newest_position(connection)
                self._clients.end_all()

    async def _follow(self) -> None:
        """Read and send what is new, until the connection is lost."""
        wait = SOON
        while True:
            self._news.clear()
            async with self._reading() as connection:
                page = await read_page(connection, self._position or Position(0, 0))
            if page.messages:
                # Who joins from here on finds in the table what is now on its way.
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


async def _live(client: Client, position: Position) -> AsyncGenerator[bytes, None]:
    """What is published after a position, until the stream is to end."""
    while messages := await client.receive():
        chunk = b"".join(
            message.chunk
            for message in messages
            if message.position is None or message.position > position
        )
        if chunk:
            yield chunk
