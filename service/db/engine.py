"""The engine, and what opens connections."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Final

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from service.db import pool
from service.db.connecting import Connection, open_connection
from service.db.errors import unavailable_on_driver_error
from service.db.schema_version import SCHEMA_OPTION
from service.settings import Settings
from service.settings.database_url import DatabaseAddress

# Seconds past the statement's time after which its server is taken for dead.
SILENCE: Final = 1
# A transaction left open by a stalled client must not hold its locks for ever.
IDLE_IN_TRANSACTION_TIMEOUT: Final = 30_000  # milliseconds

Connect = Callable[[], Awaitable[Connection]]


def create_engine(
    settings: Settings,
    pool_class: type[pool.TrackedPool] = pool.BoundedPool,
    *,
    migrating: bool = False,
    connect: Connect | None = None,
) -> AsyncEngine:
    """Make the engine; nothing connects before the first statement, and then by `connect`.

    For migrations it connects to servers that take writes alone, and no statement has a time limit
    here: they lift DATABASE_STATEMENT_TIMEOUT.
    """
    engine = create_async_engine(
        "postgresql+asyncpg://",
        connect_args=_adapter_options(
            settings, connect or connection_factory(settings, migrating=migrating)
        ),
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
        execution_options={SCHEMA_OPTION: settings.database_schema},
    )
    pool.listen(engine)
    return engine


def _adapter_options(settings: Settings, connect: Connect) -> dict[str, Any]:
    options: dict[str, Any] = {"async_creator_fn": connect}
    if settings.database_pgbouncer:
        # Another server connection may come with every transaction, so nothing is prepared for
        # longer: unnamed statements, of which no two can clash.
        options |= {"prepared_statement_cache_size": 0, "prepared_statement_name_func": str}
    return options


def pin_server(
    connection: "asyncpg.Connection[Any] | PoolConnectionProxy[Any]", pgbouncer: bool
) -> AbstractAsyncContextManager[object]:
    """Run what the block asks on one server; behind PgBouncer, only a transaction does.

    There even one statement needs it: it takes more than one message.
    """
    return connection.transaction() if pgbouncer else nullcontext()


def connection_factory(
    settings: Settings, address: DatabaseAddress | None = None, *, migrating: bool = False
) -> Connect:
    """Return a function that opens a connection, for the pool or beside it, or raises Unavailable.

    It leads to `address` if that is given, else to DATABASE_URL.
    Statements end with a TimeoutError when the server is silent, except while migrating.
    """
    longest = None if migrating else settings.database_statement_timeout + SILENCE
    options: dict[str, Any] = {
        "timeout": settings.database_pool_timeout,
        "command_timeout": longest,
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

    async def connect() -> Connection:
        with unavailable_on_driver_error():
            return await open_connection(settings, read_write=migrating, address=address, **options)

    return connect
