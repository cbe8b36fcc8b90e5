"""pgqueuer's driver over a pool that outlives a restart of the database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy
from pgqueuer.adapters.drivers.asyncpg import AsyncpgPoolDriver
from pgqueuer.ports.driver import NotifyCallback

from service.db.connecting import open_connection
from service.db.engine import pin_server
from service.db.errors import DRIVER_ERRORS, is_read_only, raise_if_cancelled, to_unavailable
from service.db.failures import failure_reason
from service.settings import Settings

# One connection listens; the others fetch jobs, beat and record, one statement at a time.
POOL_SIZE: Final = 3
CLOSE_TIMEOUT: Final = 5  # seconds
LONGEST_WAIT: Final = 5.0  # seconds between two tries

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
        self, pool: "asyncpg.Pool[Any]", stop: asyncio.Event, *, pgbouncer: bool = False
    ) -> None:
        super().__init__(pool)
        self._stop = stop
        self._pgbouncer = pgbouncer

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        """Run a statement and read its rows."""
        rows = await self._persist(lambda connection: connection.fetch(query, *args))
        return [dict(row) for row in rows]

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement."""
        return await self._persist(lambda connection: connection.execute(query, *args))

    async def notify(self, channel: str, payload: str) -> None:
        """Send a notification, once only: pgqueuer checks its listener with it."""
        query = "SELECT pg_notify($1, $2)"
        await self._once(lambda connection: connection.execute(query, channel, payload))

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        """Listen to a channel."""
        if not self._pgbouncer:
            await super().add_listener(channel, callback)

    async def _once(self, call: Call[T]) -> T:
        async with self._pool.acquire() as connection, pin_server(connection, self._pgbouncer):
            return await call(connection)

    async def _persist(self, call: Call[T]) -> T:
        wait = 0.1
        while True:
            try:
                return await self._once(call)
            except DRIVER_ERRORS as error:
                if self._stop.is_set() or to_unavailable(error) is None:
                    raise
                raise_if_cancelled()
                if is_read_only(error):
                    await self._pool.expire_connections()  # the next may lead to the primary
                reason = failure_reason(error)
                log.warning("database away, trying again", reason=reason, wait=wait)
            await pause(self._stop, wait)
            wait = min(wait * 2, LONGEST_WAIT)


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait, but no longer than until `stop` is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


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
    )
    try:
        yield pool
    finally:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await pool.close()
        except DRIVER_ERRORS:
            pool.terminate()
