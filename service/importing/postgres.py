"""Reading the Flask service's PostgreSQL database in one snapshot."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final
from urllib.parse import urlsplit

import asyncpg

from service.db.connecting import Connection
from service.db.failures import naming_tls_files, tls_fault
from service.importing.source import TABLES, Record, SourceError, check_columns

CONNECT_TIMEOUT: Final = 10  # seconds
PREFETCH: Final = 200  # rows
# The oldest account first: of emails equal but for case it is the one that is taken.
ORDERS: Final = {"users": "ORDER BY created_at, id", "posts": ""}
OPTIONS: Final = """
SET LOCAL statement_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = 0;
SET LOCAL datestyle = 'ISO';
SET LOCAL timezone = 'UTC'
"""
COLUMNS: Final = """
SELECT attname FROM pg_attribute
WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
"""


class PostgresSource:
    """A database in a transaction that only reads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def check(self) -> None:
        """Raise SourceError unless the tables are the Flask service's."""
        for table in TABLES:
            with _explained():
                columns = await self._connection.fetch(COLUMNS, table)
            check_columns(table, [name for (name,) in columns])

    async def count(self, table: str) -> int:
        with _explained():
            return int(await self._connection.fetchval(f"SELECT count(*) FROM {table}"))  # noqa: S608 - a constant

    async def records(self, table: str) -> AsyncIterator[Record]:
        # As texts: PostgreSQL has times (infinity, before Christ) that the driver can't read.
        columns = ", ".join(f"{name}::text" for name in TABLES[table])
        statement = f"SELECT {columns} FROM {table} {ORDERS[table]}"  # noqa: S608 - constants
        with _explained():
            async for record in self._connection.cursor(statement, prefetch=PREFETCH):
                yield tuple(record)


@asynccontextmanager
async def open_postgres(dsn: str) -> AsyncIterator[PostgresSource]:
    """Connect to a database for reading only; raises SourceError."""
    connection = await _connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute(OPTIONS)
            source = PostgresSource(connection)
            await source.check()
            yield source
    finally:
        # Not close(): it would wait for what a lost server still owes.
        connection.terminate()


async def _connect(dsn: str) -> Connection:
    try:
        with naming_tls_files(dsn):
            return await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT, statement_cache_size=0)
    except asyncpg.PostgresError as error:
        reason = f"refuses the connection: {_first_line(error)}"
    except OSError as error:  # TimeoutError too
        fault = tls_fault(error)
        reason = f"has no good TLS: {fault}" if fault else "does not answer"
    except (asyncpg.InterfaceError, ValueError) as error:
        fault = tls_fault(error) or "postgresql://user:password@host:5432/name"
        raise SourceError(f"The address can't be read: {fault}") from None
    raise SourceError(f"The Flask service's database at {_address(dsn)} {reason}.")


def _address(dsn: str) -> str:
    """The place alone: never the user and the password."""
    parts = urlsplit(dsn)
    return f"{parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path}"


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise SourceError("The Flask service's database holds text that is no UTF-8.") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise SourceError(
            f"The Flask service's database can't be read: {_first_line(error)}."
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
