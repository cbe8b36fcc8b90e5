"""Reading the Flask service's SQLite file while that service may go on writing to it."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from service.importing.source import TABLES, Record, SourceError, check_columns

# Rows of one read: without a write-ahead log, a reader makes the Flask service's writers wait.
PAGE: Final = 200
BUSY_TIMEOUT: Final = 30  # seconds


class SQLiteSource:
    """An SQLite file, read in short steps by rowid, the order in which rows were added."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # Posts added later may be of authors that were not read: they wait for the next run.
        self._ends = {table: self._last_rowid(table) for table in ("posts", "users")}

    async def count(self, table: str) -> int:
        statement = f"SELECT count(*) FROM {table} WHERE rowid <= ?"  # noqa: S608 - a constant
        with _explained():
            return int(self._connection.execute(statement, [self._ends[table]]).fetchone()[0])

    async def records(self, table: str) -> AsyncIterator[Record]:
        statement = (
            f"SELECT rowid, {', '.join(TABLES[table])} FROM {table} "  # noqa: S608 - constants
            f"WHERE rowid > ? AND rowid <= ? ORDER BY rowid LIMIT {PAGE}"
        )
        last, end = -(2**63), self._ends[table]
        while True:
            with _explained():
                page = self._connection.execute(statement, (last, end)).fetchall()
            for _, *record in page:
                yield tuple(record)
            if len(page) < PAGE:
                return
            last = page[-1][0]

    def _last_rowid(self, table: str) -> int:
        with _explained():
            columns = self._connection.execute(f"PRAGMA table_info({table})").fetchall()
            check_columns(table, [name for _, name, *_ in columns])
            statement = f"SELECT coalesce(max(rowid), 0) FROM {table}"  # noqa: S608 - a constant
            return int(self._connection.execute(statement).fetchone()[0])


@asynccontextmanager
async def open_sqlite(path: Path) -> AsyncIterator[SQLiteSource]:
    """Open a file for reading only; raises SourceError."""
    with closing(_connect(path)) as connection:
        yield SQLiteSource(connection)


def _connect(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise SourceError(f"There is no file {path}.")
    with _explained():
        try:
            return _connect_with(path, "mode=ro")
        except sqlite3.OperationalError:
            # A write-ahead log needs files beside it. In a folder that nobody can write to,
            # nobody writes to the database either.
            if _has_log(path):
                raise
            return _connect_with(path, "immutable=1")


def _connect_with(path: Path, option: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.resolve()))}?{option}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)
    connection.text_factory = _text
    try:
        connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _has_log(path: Path) -> bool:
    logs = (path.with_name(path.name + end) for end in ("-wal", "-journal"))
    return any(log.exists() and log.stat().st_size for log in logs)


def _text(stored: bytes) -> str | bytes:
    """Decode a text; one that is not UTF-8 stays bytes, for only its row to be refused."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise SourceError(f"The SQLite file can't be read: {error}.") from error
