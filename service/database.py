"""The database: declarative base, engine, one session per request and THE one commit.

Features get an AsyncSession, execute and flush; they never commit. `finish` is the only place
that does.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, TypeVar, cast

import asyncpg
import structlog
from sqlalchemy import Connection, DateTime, MetaData, Row, Uuid
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection

from service.errors import Unavailable
from service.reading import ReadingSession
from service.settings import Settings

CONNECT_TIMEOUT: Final = 5  # seconds
# A transaction left open by a stalled client must not hold its locks for ever.
IDLE_IN_TRANSACTION_TIMEOUT: Final = 30_000  # milliseconds
OBSERVATION_TIMEOUT: Final = 2.0  # seconds

T = TypeVar("T")

log: Final = structlog.get_logger(__name__)

# SQLSTATE classes and codes that pass by themselves: the caller may try again.
_TRANSIENT_CLASSES: Final = ("08", "53", "57")  # connection, resources, operator (also timeouts)
_TRANSIENT_CODES: Final = frozenset({"25006", "40001", "40P01", "55P03"})


class Base(DeclarativeBase):
    """The declarative base: UTC times, and names that Alembic can rely on."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


# A row whose columns its reader knows by name.
AnyRow = Row[*tuple[Any, ...]]

UtcDateTime = DateTime(timezone=True)
Id = Uuid(as_uuid=True)


class Usage(NamedTuple):
    """The pool at this moment: its connections, those in use, and the requests that wait."""

    size: int
    in_use: int
    waiting: int


class Pool(AsyncAdaptedQueuePool):
    """A pool that knows how many callers wait for a connection, one being opened included."""

    waiting = 0

    def connect(self) -> PoolProxiedConnection:
        """Take a connection."""
        self.waiting += 1
        try:
            return super().connect()
        finally:
            self.waiting -= 1

    def usage(self) -> Usage:
        """Tell how much of it is in use."""
        return Usage(self.size(), self.checkedout(), self.waiting)


class Database:
    """The engine and the sessions of one process."""

    def __init__(self, settings: Settings) -> None:
        self.engine = make_engine(settings)
        # A connection beside the pool, made at first use: a full pool must not hide how things are.
        beside = make_engine(settings.model_copy(update={"database_pool_size": 1}))
        self._beside = beside.execution_options(isolation_level="AUTOCOMMIT")
        self._observing: set[asyncio.Task[Any]] = set()
        # Reads need no BEGIN and ROLLBACK: two round trips less each.
        reading = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._readers = async_sessionmaker(reading, class_=ReadingSession)
        self._writers = async_sessionmaker(self.engine, expire_on_commit=False)

    def session(self, *, read_only: bool = False) -> AsyncSession:
        """Make a session; it takes a connection from the pool at its first statement."""
        return self._readers() if read_only else self._writers()

    async def fetch_row(self, statement: str, *values: object) -> "asyncpg.Record | None":
        """Read one row on a connection of its own, given back at once.

        The driver alone, at a quarter of a session's cost: for what every request asks. Raises
        Unavailable when the database does not answer.
        """
        pooled = await self.engine.raw_connection()
        try:
            driver: Any = pooled.driver_connection
            row: asyncpg.Record | None = await driver.fetchrow(statement, *values)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            pooled.invalidate(error)
            state = getattr(error, "sqlstate", None)
            if state is not None and not _passes_by_itself(state):
                raise
            raise Unavailable("The database is unavailable") from error
        finally:
            pooled.close()
        return row

    def usage(self) -> Usage:
        """Tell how much of the pool is in use."""
        return cast(Pool, self.engine.pool).usage()

    async def observe(self, read: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Read on a connection that no request uses, in 2 s at most.

        Raises Unavailable when the database does not answer in that time.
        """
        task = asyncio.create_task(self._observe(read))
        # Waited for but not awaited: a frozen server would hold up its cancellation, too.
        self._observing.add(task)
        task.add_done_callback(self._observed)
        try:
            done, _ = await asyncio.wait({task}, timeout=OBSERVATION_TIMEOUT)
        finally:
            task.cancel()
        if not done:
            raise Unavailable("The database does not answer")
        return task.result()

    async def _observe(self, read: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        try:
            async with self._beside.connect() as connection:
                return await read(connection)
        except (SQLAlchemyError, Unavailable, OSError) as error:
            log.warning("database not observed", reason=type(error).__name__)
            raise Unavailable("The database does not answer") from error

    def _observed(self, task: asyncio.Task[Any]) -> None:
        self._observing.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: it may be nobody waits for it any more

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
        await self._beside.dispose()


async def finish(session: AsyncSession, *, keep: bool) -> None:
    """End the session's transaction, by commit or rollback, and give its connection back."""
    try:
        if keep:
            await session.commit()
    finally:
        await session.close()


def make_engine(settings: Settings) -> AsyncEngine:
    """Make the engine; nothing connects before the first statement."""
    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connector(settings),
        poolclass=Pool,
        pool_size=settings.database_pool_size,
        # A fixed pool: connections made under load and thrown away cost more than they give.
        max_overflow=0,
        pool_timeout=settings.database_pool_timeout,
        pool_recycle=1800,
        # Errors are logged with their statement: not with the values in it.
        hide_parameters=True,
    )


Connect = Callable[[], Awaitable["asyncpg.Connection[Any]"]]


def connector(settings: Settings) -> Connect:
    """Make what opens a connection, for the pool or beside it; raises Unavailable."""
    # asyncpg reads the address itself: it knows libpq's parameters (sslmode, host=/socket/dir).
    dsn = settings.database_dsn
    options: dict[str, Any] = {
        "timeout": CONNECT_TIMEOUT,
        "server_settings": {
            "application_name": "service",
            "statement_timeout": str(int(settings.database_statement_timeout * 1000)),
            "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT),
        },
    }

    async def connect() -> "asyncpg.Connection[Any]":
        try:
            connection: asyncpg.Connection[Any] = await asyncpg.connect(dsn, **options)
            return connection
        # ValueError: an address that can't be read.
        except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise Unavailable("The database is unavailable") from error

    return connect


def as_unavailable(error: BaseException) -> Unavailable | None:
    """Translate a database failure that passes by itself; None for every other error."""
    if isinstance(error, Unavailable):
        return error
    if isinstance(error, PoolTimeoutError):
        return Unavailable("The service is busy")
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None) or ""
        lost = error.connection_invalidated or isinstance(
            getattr(error.orig, "driver_exception", None), (OSError, asyncio.TimeoutError)
        )
        if lost or _passes_by_itself(state):
            return Unavailable("The database is unavailable")
    return None


def _passes_by_itself(state: str) -> bool:
    return state[:2] in _TRANSIENT_CLASSES or state in _TRANSIENT_CODES


def violated_constraint(error: IntegrityError) -> str | None:
    """Name the constraint or unique index that refused a statement."""
    name = getattr(getattr(error.orig, "driver_exception", None), "constraint_name", None)
    return name if isinstance(name, str) else None


def schema_problem(connection: Connection, heads: frozenset[str]) -> str | None:
    """Tell what the schema lacks for this code; None when it is at head."""
    from alembic.runtime.migration import MigrationContext

    current = set(MigrationContext.configure(connection).get_current_heads())
    if current == heads:
        return None
    return "the database's schema is not at head: run `service migrate`"
