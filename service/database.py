"""The database: declarative base, engine, one session per request and THE one commit.

Features get an AsyncSession, execute and flush; they never commit. `finish` is the only place
that does.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg
from sqlalchemy import Connection, DateTime, MetaData, Row, Uuid
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase

from service import pool
from service.errors import Unavailable
from service.settings import Settings

CONNECT_TIMEOUT: Final = 5  # seconds
# Seconds past the statement's time after which its server is taken for dead.
SILENCE: Final = 1
# A transaction left open by a stalled client must not hold its locks for ever.
IDLE_IN_TRANSACTION_TIMEOUT: Final = 30_000  # milliseconds

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


class Database:
    """The engine and the sessions of one process."""

    def __init__(self, settings: Settings) -> None:
        self.engine = make_engine(settings)
        # Reads need no BEGIN and ROLLBACK: two round trips less each. Behind PgBouncer they do: a
        # statement takes more than one message, which only a transaction brings to one server.
        autocommit = {} if settings.database_pgbouncer else {"isolation_level": "AUTOCOMMIT"}
        reading = self.engine.execution_options(**autocommit)
        self._readers = async_sessionmaker(reading, expire_on_commit=False)
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

    def usage(self) -> pool.Usage:
        """Tell how much of the pool is in use."""
        found = self.engine.pool
        assert isinstance(found, pool.BoundedPool)  # noqa: S101 - as make_engine made it
        return found.usage()

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


async def finish(session: AsyncSession, *, keep: bool) -> None:
    """End the session's transaction, by commit or rollback, and give its connection back."""
    try:
        if keep:
            await session.commit()
    finally:
        await session.close()


def make_engine(settings: Settings) -> AsyncEngine:
    """Make the engine; nothing connects before the first statement."""
    engine = create_async_engine(
        "postgresql+asyncpg://",
        connect_args=_adapter_options(settings),
        poolclass=pool.BoundedPool,
        pool_size=settings.database_pool_size,
        # A fixed pool: connections made under load and thrown away cost more than they give.
        max_overflow=0,
        pool_timeout=settings.database_pool_timeout,
        pool_recycle=1800,
    )
    pool.watch(engine)
    return engine


def _adapter_options(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {"async_creator_fn": connector(settings)}
    if settings.database_pgbouncer:
        # Another server connection may come with every transaction, so nothing is prepared for
        # longer: unnamed statements, of which no two can clash.
        options |= {"prepared_statement_cache_size": 0, "prepared_statement_name_func": str}
    return options


Connect = Callable[[], Awaitable["asyncpg.Connection[Any]"]]


def connector(settings: Settings) -> Connect:
    """Make what opens a connection, for the pool or beside it; raises Unavailable."""
    # asyncpg reads the address itself: it knows libpq's parameters (sslmode, host=/socket/dir).
    dsn = settings.database_dsn
    options: dict[str, Any] = {
        "timeout": min(CONNECT_TIMEOUT, settings.database_pool_timeout),
        # For a server that does not answer at all.
        "command_timeout": settings.database_statement_timeout + SILENCE,
        "server_settings": {"application_name": "service"},
    }
    if settings.database_pgbouncer:
        # It refuses the settings below: the role must have them (docs/scaling.md).
        options["statement_cache_size"] = 0
    else:
        options["server_settings"] |= {
            "statement_timeout": str(int(settings.database_statement_timeout * 1000)),
            "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT),
        }

    async def connect() -> "asyncpg.Connection[Any]":
        try:
            with pool.opening():
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
