"""The database: engine, sessions, single statements, and the one commit.

What takes two statements or more gets an AsyncSession, executes and flushes; it never commits,
`close_session` alone does. What is one statement gets an Autocommit, which cannot keep two
together: nothing may fail after such a write but the making of the response.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar, cast

import structlog
from sqlalchemy import CursorResult, Executable
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker

from service.db import pool
from service.db.autocommit import Autocommit
from service.db.batching import BATCH_MAX, SIZE_BUCKETS, Batcher, Run
from service.db.checks import Check, first_problem, run_checks, synchronous
from service.db.engine import create_engine
from service.db.execution import Observe, execute, listen, observed
from service.db.failures import failure_reason
from service.db.read_session import FetchByKey, FetchShared, ReadSession
from service.db.schema_version import SCHEMA_CHECKS, read_only_problem
from service.errors import Unavailable
from service.observability.histogram import Histogram
from service.observability.metrics import Metrics
from service.settings import Settings

PROBE_TIMEOUT: Final = 2.0  # seconds

T = TypeVar("T")

log: Final = structlog.get_logger(__name__)


class Database:
    """The engine and the sessions of one process.

    `observe`, where it is given, is called for each statement that is answered, and for each single
    one that is not.
    """

    def __init__(self, settings: Settings, observe: Observe | None = None) -> None:
        self.engine = create_engine(settings)
        # A connection beside the pool, made at first use: a full pool must not hide how things are.
        beside = create_engine(
            settings.model_copy(update={"database_pool_size": 1}), pool.TrackedPool
        )
        self._probing: set[asyncio.Task[Any]] = set()
        # Reads need no BEGIN and ROLLBACK: two round trips less each. Behind PgBouncer they do: a
        # statement takes more than one message, which only a transaction brings to one server.
        autocommit = {} if settings.database_pgbouncer else {"isolation_level": "AUTOCOMMIT"}
        self._beside = beside.execution_options(**autocommit)
        run: Run = partial(execute, self.engine, settings.database_pgbouncer)
        if observe is not None:
            run = observed(run, observe)
            listen(self.engine, observe)
        self._batcher = Batcher(
            run,
            BATCH_MAX * settings.database_pool_size,
            pool.WAITING_PER_CONNECTION * settings.database_pool_size,
        )
        self.batch_sizes: Final = Histogram(
            "database_batch_size", "Requests that shared one statement.", ("kind",), SIZE_BUCKETS
        )
        self.batch_sizes.add(self._batcher.reads, "read")
        self.batch_sizes.add(self._batcher.writes, "write")
        self.autocommit = Autocommit(run, self._batcher)
        reading = self.engine.execution_options(**autocommit)
        self._idle: set[ReadSession] = set()
        self._readers = async_sessionmaker(
            reading,
            class_=ReadSession,
            fetch_shared=self.autocommit.fetch_shared,
            fetch_by_key=self.autocommit.fetch_by_key,
            idle=self._idle,
        )
        self._writers = async_sessionmaker(self.engine, expire_on_commit=False)

    def session(self) -> AsyncSession:
        """Return a session that may write, and that takes a connection at its first statement."""
        return self._writers()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session that is committed at the end of the block, or rolled back by an exception."""
        session = self.session()
        try:
            yield session
        except BaseException:
            await close_session(session, commit=False)
            raise
        await close_session(session, commit=True)

    def read_session(self) -> ReadSession:
        """Return a session for reading only, which holds no connection between statements."""
        return self._idle.pop() if self._idle else self._readers()

    def read_session_by(self, fetch_shared: FetchShared, fetch_by_key: FetchByKey) -> ReadSession:
        """Return a session for reading only, whose queries other functions answer."""
        return self._readers(fetch_shared=fetch_shared, fetch_by_key=fetch_by_key, idle=set())

    @property
    def _pool(self) -> pool.BoundedPool:
        return cast(pool.BoundedPool, self.engine.pool)

    def usage(self) -> pool.PoolUsage:
        """Return how much of the pool is in use, batched lookups included."""
        used = self._pool.usage()
        return used._replace(waiting=used.waiting + self._batcher.queued)

    def register_metrics(self, metrics: Metrics) -> None:
        """Show how much of the pool is in use, and how many requests share a statement."""
        metrics.register(self.batch_sizes)
        for part, documentation in (
            ("size", "Connections that may be open."),
            ("in_use", "Connections at work."),
            ("waiting", "Requests that wait for a connection."),
        ):
            metrics.add_gauge(f"database_pool_{part}", documentation, partial(self._usage_of, part))

    def _usage_of(self, part: str) -> float:
        return float(getattr(self.usage(), part))

    @property
    def checks(self) -> Mapping[str, Check]:
        """What must hold of a database that can be used, by name, in order."""
        schema = {name: synchronous(check) for name, check in SCHEMA_CHECKS.items()}
        return {"writes": self._find_read_only, **schema}

    async def find_problem(self, connection: AsyncConnection) -> str | None:
        """Return why the database that a connection leads to cannot be used, or None."""
        return first_problem(await run_checks(self.checks, connection))

    async def _find_read_only(self, connection: AsyncConnection) -> str | None:
        # From a server that takes no writes every connection is left: the next may find a primary.
        if problem := await connection.run_sync(read_only_problem):
            self.leave_server()
        return problem

    def leave_server(self) -> None:
        """Leave every connection made so far: none is used again."""
        self._pool.drop()
        cast(pool.TrackedPool, self._beside.pool).drop()

    async def probe(self, read: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Read on a connection that no request uses, in 2 s at most.

        Raises Unavailable when the database does not answer in that time.
        """
        task = asyncio.create_task(self._probe(read))
        # Waited for but not awaited: a frozen server would hold up its cancellation, too.
        self._probing.add(task)
        task.add_done_callback(self._on_probe_done)
        try:
            done, _ = await asyncio.wait({task}, timeout=PROBE_TIMEOUT)
        finally:
            task.cancel()
        if not done:
            raise Unavailable("The database does not answer")
        return task.result()

    async def _probe(self, read: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        try:
            async with self._beside.connect() as connection:
                return await read(connection)
        except (SQLAlchemyError, Unavailable, OSError) as error:
            log.warning("database not observed", reason=failure_reason(error))
            raise Unavailable("The database does not answer") from error

    def _on_probe_done(self, task: asyncio.Task[Any]) -> None:
        self._probing.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: it may be nobody waits for it any more

    async def close(self) -> None:
        """Close every connection."""
        await self._batcher.close()
        await self.engine.dispose()
        await self._beside.dispose()


async def execute_count(
    session: AsyncSession, statement: Executable, values: Mapping[str, Any] | None = None
) -> int:
    """Execute an UPDATE or DELETE, and return the number of its rows."""
    return cast(CursorResult[Any], await session.execute(statement, values)).rowcount


async def close_session(session: AsyncSession, *, commit: bool) -> None:
    """End the session's transaction, by commit or rollback, and give its connection back."""
    try:
        if commit:
            await session.commit()
    finally:
        await session.close()
