"""The locks of migrations: that of all runners, and those of tables, which others may hold."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from time import monotonic
from typing import Any, Final

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.util import await_only

from service.errors import Unavailable

# An arbitrary constant; every runner takes the advisory lock of this number.
MIGRATION_LOCK: Final = 7_042_001
# As PostgreSQL writes it. Reads and writes of a table queue behind a migration that waits for it.
LOCK_TIMEOUT: Final = "3s"
POLL_PAUSE: Final = 0.2  # seconds
# Seconds of waiting for another runner until the log names its process, and until it does again.
NAMED_AFTER: Final = 3.0
NAMED_EACH: Final = 30.0
# How often a server looks during a statement whether the runner is still there: else a lost one
# would hold the lock until the statement ends.
CLIENT_CHECK: Final = "10s"
# Looks after which a wait is worth a line in the log.
LONG_WAIT: Final = 15
LOCK_NOT_AVAILABLE: Final = "55P03"
DEADLOCK_DETECTED: Final = "40P01"
_TRY_LOCK: Final = text(f"SELECT pg_try_advisory_lock({MIGRATION_LOCK})")
# A server on Windows refuses it.
_CHECK_CLIENT: Final = text(
    "SELECT set_config('client_connection_check_interval', :interval, false) "
    "WHERE version() !~* 'windows|mingw|visual c'"
)
_BACKEND: Final = text("SELECT pg_backend_pid()")
_RUNNER: Final = text(
    """
    SELECT pid, application_name, client_addr::text AS address, backend_start AS since
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted
        AND classid = 0 AND objid = :lock AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
)
# The oldest transaction first: the others may only queue behind it.
_HOLDER: Final = text(
    """
    SELECT wait.relation::regclass::text AS table, holder.pid, holder.application_name,
        extract(epoch FROM clock_timestamp() - holder.xact_start) AS age
    FROM pg_locks AS wait
    CROSS JOIN unnest(pg_blocking_pids(wait.pid)) AS blocking
    JOIN pg_stat_activity AS holder ON holder.pid = blocking
    WHERE wait.pid = :pid AND NOT wait.granted
    ORDER BY holder.xact_start LIMIT 1
    """
)

logger: Final = logging.getLogger(__name__)


@contextmanager
def sole_runner(connection: Connection) -> Iterator[None]:
    """Hold the lock of all runners for the block, whose statements wait for tables only briefly.

    The lock and the limits are the session's, which is closed at the end. The lock is polled: a
    statement that waited for it would have a snapshot, for whose end an index that the other
    runner makes CONCURRENTLY would wait. During the wait the log names who holds the lock.
    """
    try:
        # A migration, and the wait for another's, may take longer than a request may.
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.execute(_CHECK_CLIENT, {"interval": CLIENT_CHECK})
        connection.commit()
        _wait_for_lock(connection)
        yield
    finally:
        connection.invalidate()


def _wait_for_lock(connection: Connection) -> None:
    named_next = monotonic() + NAMED_AFTER
    while not connection.scalar(_TRY_LOCK):
        if monotonic() >= named_next:
            named_next += NAMED_EACH
            _log_runner(connection)
        connection.rollback()
        await_only(asyncio.sleep(POLL_PAUSE))
    connection.commit()


def _log_runner(connection: Connection) -> None:
    """Log who holds the lock of all runners, if anyone does at this moment."""
    runner = connection.execute(_RUNNER, {"lock": MIGRATION_LOCK}).first()
    if runner is None:
        return
    # To a role that may not see another's session these are null.
    since = f"{runner.since:%Y-%m-%d %H:%M:%S %Z}" if runner.since else "an unknown time"
    logger.warning(
        "the migrations wait for another runner: process %s (%s, from %s), connected since %s; "
        "if that runner is gone, end its session: SELECT pg_terminate_backend(%s)",
        runner.pid,
        runner.application_name or "no application_name",
        runner.address or "a socket or an unknown address",
        since,
        runner.pid,
    )


class LockWatch:
    """What a session was last seen to wait for."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._seen: Row[Any] | None = None
        self._looks = 0

    def describe(self) -> str:
        """Return which table is locked and by which process, without what that process runs."""
        if self._seen is None:
            return "a lock was not granted, and who holds it was not seen"
        age = self._seen.age
        since = "for an unknown time" if age is None else f"for {age:.0f} s"
        return (
            f"{self._seen.table or 'a row or a snapshot'} is held by process {self._seen.pid} "
            f"({self._seen.application_name or 'no application_name'}), in a transaction {since}"
        )

    async def look(self, connection: AsyncConnection) -> None:
        """See what the session waits for now, and log a long wait once."""
        seen = (await connection.execute(_HOLDER, {"pid": self._pid})).first()
        await connection.rollback()
        self._looks = self._looks + 1 if seen else 0
        self._seen = seen or self._seen
        if self._looks == LONG_WAIT:
            logger.info("the migration waits: %s", self.describe())


@asynccontextmanager
async def watched(engine: AsyncEngine, connection: AsyncConnection) -> AsyncIterator[LockWatch]:
    """Watch, by another connection, what this one waits for in the block."""
    pid = await connection.scalar(_BACKEND)
    await connection.rollback()
    watch, ended = LockWatch(pid), asyncio.Event()
    watching = asyncio.create_task(_watch(engine, watch, ended))
    try:
        yield watch
    finally:
        ended.set()
        await watching


async def _watch(engine: AsyncEngine, watch: LockWatch, ended: asyncio.Event) -> None:
    # Without a connection to spare, migrations run all the same.
    with suppress(Unavailable, DBAPIError):
        async with engine.connect() as connection:
            while not ended.is_set():
                await watch.look(connection)
                with suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), POLL_PAUSE)
