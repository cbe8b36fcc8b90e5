"""The database: declarative base, engine, one session per request and THE one commit.

Features get an AsyncSession, execute and flush; they never commit. `finish` is the only place
that does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Final, TypeVar, cast
from uuid import UUID

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy
from sqlalchemy import DateTime, MetaData, Row, Uuid
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

from service import pool, tracing
from service.errors import Unavailable
from service.loader import BATCH_MAX, Loader
from service.reading import Lookup, Query, ReadingSession, Record
from service.settings import Settings

CONNECT_TIMEOUT: Final = 5  # seconds
# Seconds past the statement's time after which its server is taken for dead.
SILENCE: Final = 1
# A transaction left open by a stalled client must not hold its locks for ever.
IDLE_IN_TRANSACTION_TIMEOUT: Final = 30_000  # milliseconds
OBSERVATION_TIMEOUT: Final = 2.0  # seconds

T = TypeVar("T")

log: Final = structlog.get_logger(__name__)

# What the driver raises, without a state from the server, for a connection that is lost; the last
# one when that comes between two messages of a statement.
SIGNS_OF_LOSS: Final = (OSError, asyncpg.InternalClientError)
DRIVER_FAILURES: Final = (*SIGNS_OF_LOSS, asyncpg.PostgresError, asyncpg.InterfaceError)

# SQLSTATE classes and codes that pass by themselves: the caller may try again.
_TRANSIENT_CLASSES: Final = ("08", "53", "57")  # connection, resources, operator (also timeouts)
# With these the server takes leave of the connection.
_CONNECTION: Final = "08"
_LOST: Final = frozenset({"57P01", "57P02", "57P03"})
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


class Database:
    """The engine and the sessions of one process."""

    def __init__(self, settings: Settings) -> None:
        self.engine = make_engine(settings)
        self._pgbouncer = settings.database_pgbouncer
        # A connection beside the pool, made at first use: a full pool must not hide how things are.
        beside = make_engine(settings.model_copy(update={"database_pool_size": 1}), pool.SparedPool)
        self._observing: set[asyncio.Task[Any]] = set()
        # Reads need no BEGIN and ROLLBACK: two round trips less each. Behind PgBouncer they do: a
        # statement takes more than one message, which only a transaction brings to one server.
        autocommit = {} if self._pgbouncer else {"isolation_level": "AUTOCOMMIT"}
        self._beside = beside.execution_options(**autocommit)
        self._loader = Loader(self._fetch, BATCH_MAX * settings.database_pool_size)
        reading = self.engine.execution_options(**autocommit)
        self._idle: set[ReadingSession] = set()
        self._readers = async_sessionmaker(
            reading, class_=ReadingSession, fetch=self.fetch, load=self.load, idle=self._idle
        )
        self._writers = async_sessionmaker(self.engine, expire_on_commit=False)

    def session(self, *, read_only: bool = False) -> AsyncSession:
        """Make a session; it takes a connection from the pool at its first statement."""
        if not read_only:
            return self._writers()
        return self._idle.pop() if self._idle else self._readers()

    async def fetch(self, query: Query, values: Mapping[str, Any]) -> list[Record]:
        """Read rows by the driver alone, on a connection that is given back at once.

        Raises Unavailable when the database does not answer.
        """
        return await self._fetch(query, lambda: values)

    async def load(self, lookup: Lookup, key: UUID) -> Record | None:
        """Read the row that has a key, if there is one, together with what others look up.

        Raises Unavailable when the database does not answer.
        """
        if tracing.active():
            with tracing.statement(lookup.query.text):
                return await self._loader.load(lookup, key)
        return await self._loader.load(lookup, key)

    async def _fetch(self, query: Query, values: Callable[[], Mapping[str, Any]]) -> list[Record]:
        pooled = await self.engine.raw_connection()
        try:
            driver: Any = pooled.driver_connection
            arguments = query.arguments(values())
            async with one_server(driver, self._pgbouncer):
                rows: list[Record] = await driver.fetch(query.text, *arguments, record_class=Record)
        except DRIVER_FAILURES as error:
            state = getattr(error, "sqlstate", None) or ""
            if isinstance(error, ValueError) or (state and not _passes_by_itself(state)):
                raise  # the statement's fault: for the driver a ValueError, for the server a state
            if not state or state[:2] == _CONNECTION or state in _LOST:
                pooled.invalidate(error)
            log.warning("database unavailable", reason=type(error).__name__)
            raise Unavailable("The database is unavailable") from error
        finally:
            pooled.close()
        return rows

    def usage(self) -> pool.Usage:
        """Tell how much of the pool is in use."""
        used = cast(pool.BoundedPool, self.engine.pool).usage()
        return used._replace(waiting=used.waiting + self._loader.joined)

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
        await self._loader.close()
        await self.engine.dispose()
        await self._beside.dispose()


async def finish(session: AsyncSession, *, keep: bool) -> None:
    """End the session's transaction, by commit or rollback, and give its connection back."""
    try:
        if keep:
            await session.commit()
    finally:
        await session.close()


def make_engine(
    settings: Settings,
    pool_class: type[pool.SparedPool] = pool.BoundedPool,
    *,
    patient: bool = False,
) -> AsyncEngine:
    """Make the engine; nothing connects before the first statement.

    A patient one is for migrations, which lift DATABASE_STATEMENT_TIMEOUT.
    """
    engine = create_async_engine(
        "postgresql+asyncpg://",
        connect_args=_adapter_options(settings, patient=patient),
        poolclass=pool_class,
        pool_size=settings.database_pool_size,
        # A fixed pool: connections made under load and thrown away cost more than they give.
        max_overflow=0,
        pool_timeout=settings.database_pool_timeout,
        pool_recycle=1800,
        # The connection used last: its server process is the one that is still in the caches.
        pool_use_lifo=True,
        # Errors are logged with their statement: not with the values in it.
        hide_parameters=True,
    )
    pool.watch(engine)
    return engine


def _adapter_options(settings: Settings, *, patient: bool) -> dict[str, Any]:
    options: dict[str, Any] = {"async_creator_fn": connector(settings, patient=patient)}
    if settings.database_pgbouncer:
        # Another server connection may come with every transaction, so nothing is prepared for
        # longer: unnamed statements, of which no two can clash.
        options |= {"prepared_statement_cache_size": 0, "prepared_statement_name_func": str}
    return options


Connect = Callable[[], Awaitable["asyncpg.Connection[Any]"]]


def one_server(
    connection: "asyncpg.Connection[Any] | PoolConnectionProxy[Any]", pgbouncer: bool
) -> AbstractAsyncContextManager[object]:
    """Run what the block asks on one server; behind PgBouncer, only a transaction does.

    There even one statement needs it: it takes more than one message.
    """
    return connection.transaction() if pgbouncer else nullcontext()


def connector(settings: Settings, *, patient: bool = False) -> Connect:
    """Make what opens a connection, for the pool or beside it; raises Unavailable.

    Unless patient, statements end with a TimeoutError when the server does not answer at all.
    """
    # asyncpg reads the address itself: it knows libpq's parameters (sslmode, host=/socket/dir).
    dsn = settings.database_dsn
    options: dict[str, Any] = {
        "timeout": min(CONNECT_TIMEOUT, settings.database_pool_timeout),
        "command_timeout": None if patient else settings.database_statement_timeout + SILENCE,
        "server_settings": {"application_name": "service"},
    }
    if settings.database_pgbouncer:
        # It refuses the settings below: the role must have them (docs/operations.md).
        options["statement_cache_size"] = 0
    else:
        options["server_settings"] |= {
            "statement_timeout": str(int(settings.database_statement_timeout * 1000)),
            "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT),
        }

    async def connect() -> "asyncpg.Connection[Any]":
        try:
            connection: asyncpg.Connection[Any] = await asyncpg.connect(dsn, **options)
            return connection
        # ValueError: an address that can't be read.
        except (ValueError, *DRIVER_FAILURES) as error:
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
            getattr(error.orig, "driver_exception", None), SIGNS_OF_LOSS
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
