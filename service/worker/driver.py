"""pgqueuer's driver over a pool that outlives a restart of the database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy
from pgqueuer.adapters.drivers.asyncpg import AsyncpgPoolDriver
from pgqueuer.ports.driver import NotifyCallback

from service.db.connecting import open_connection
from service.db.engine import pin_server
from service.db.errors import DRIVER_ERRORS, raise_if_cancelled, to_unavailable
from service.db.failures import failure_reason
from service.settings import Settings
from service.worker.listener import LAST_RETRY, Listener, pause
from service.worker.liveness import Heartbeat

# They fetch jobs, beat and record, one statement at a time; the listener's own is beside them.
POOL_SIZE: Final = 2
CLOSE_TIMEOUT: Final = 5  # seconds

log: Final = structlog.get_logger(__name__)
T = TypeVar("T")
Call: TypeAlias = Callable[["PoolConnectionProxy[Any]"], Awaitable[T]]


class PatientDriver(AsyncpgPoolDriver):
    """Tries a statement again while the database is away, until the worker is to stop.

    So what a job came to is recorded, although the database restarted while the job was at work;
    otherwise the job would be done once more. Each statement of a worker may run twice.

    Through a PgBouncer in transaction mode it listens to nothing: then polling finds the jobs.
    """

    def __init__(
        self,
        pool: "asyncpg.Pool[Any]",
        stop: asyncio.Event,
        listener: Listener | None = None,
        heartbeat: Heartbeat | None = None,
        *,
        pgbouncer: bool = False,
        leave_server: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(pool)
        self._connections = pool
        self._stop = stop
        self._listener = listener
        self._heartbeat = heartbeat or Heartbeat(None)
        self._pgbouncer = pgbouncer
        self._leave_server = leave_server
        self._in_use: set[PoolConnectionProxy[Any]] = set()

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        """Run a statement and read its rows."""
        rows = await self._persist(lambda connection: connection.fetch(query, *args))
        # The loop that looks for jobs comes past here, and no other one does while it hangs.
        self._heartbeat.note_poll()
        return [dict(row) for row in rows]

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement."""
        return await self._persist(lambda connection: connection.execute(query, *args))

    async def notify(self, channel: str, payload: str) -> None:
        """Send a notification, once only: pgqueuer checks its listener with it."""
        # The check begins before pgqueuer listens, and a notification that comes first is lost.
        if self._listener is not None:
            await self._listener.listening.wait()
        query = "SELECT pg_notify($1, $2)"
        await self._once(lambda connection: connection.execute(query, channel, payload))

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        """Listen to a channel from soon on, also on the connections that follow a lost one."""
        if self._listener is not None:
            self._listener.start(channel, callback, self._on_connection_lost)

    async def _on_connection_lost(self, *, silent: bool) -> None:
        """Replace every connection once it is free; those to a silent server are cut at once."""
        await self._connections.expire_connections()
        if self._leave_server is not None:
            self._leave_server()
        if silent:
            for connection in self._in_use:
                connection.terminate()

    async def _once(self, call: Call[T]) -> T:
        async with (
            self._connections.acquire() as connection,
            pin_server(connection, self._pgbouncer),
        ):
            self._in_use.add(connection)
            try:
                return await call(connection)
            finally:
                self._in_use.discard(connection)

    async def _persist(self, call: Call[T]) -> T:
        wait = 0.1
        while True:
            try:
                return await self._once(call)
            except DRIVER_ERRORS as error:
                if self._stop.is_set() or to_unavailable(error) is None:
                    raise
                raise_if_cancelled()
                if wait < LAST_RETRY:  # from then on it is tried each second, without a word
                    reason = failure_reason(error)
                    log.warning("database away, trying again", reason=reason, wait=wait)
            # Another server may take the writes now that this one refuses.
            await self._connections.expire_connections()
            self._heartbeat.beat()
            await pause(self._stop, wait)
            wait = min(wait * 2, LAST_RETRY)


@asynccontextmanager
async def open_driver(
    settings: Settings,
    stop: asyncio.Event,
    heartbeat: Heartbeat,
    leave_server: Callable[[], None] | None = None,
) -> AsyncIterator[PatientDriver]:
    """Open a worker's connections, and close them at the end.

    `leave_server` is called when the server of one is lost, for connections of others to it.
    """
    pgbouncer = settings.database_pgbouncer
    async with open_pool(settings) as pool:
        if pgbouncer:
            yield PatientDriver(pool, stop, heartbeat=heartbeat, pgbouncer=True)
            return
        listener = Listener(settings)
        try:
            yield PatientDriver(pool, stop, listener, heartbeat, leave_server=leave_server)
        finally:
            await listener.close()


@asynccontextmanager
async def open_pool(settings: Settings) -> AsyncIterator["asyncpg.Pool[Any]"]:
    """Open a worker's pool, and close it at the end, by force where it must be."""
    pool = await asyncpg.create_pool(
        connect=lambda *_, **options: open_connection(settings, **options),
        min_size=1,
        max_size=POOL_SIZE,
        command_timeout=settings.database_statement_timeout,
        # Behind a transaction-mode PgBouncer the next statement may meet another server.
        statement_cache_size=0 if settings.database_pgbouncer else 100,
        server_settings={} if settings.database_pgbouncer else {"application_name": "worker"},
        reset=_keep_as_is,
    )
    try:
        yield pool
    finally:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await pool.close()
        except DRIVER_ERRORS:
            pool.terminate()


async def _keep_as_is(_connection: "asyncpg.Connection[Any]") -> None:
    """Leave a connection as it is: single statements change nothing on it.

    asyncpg's own reset is one more question, and when the server falls silent just then, nothing
    cuts it off before its time limit.
    """
