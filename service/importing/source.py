"""What the Flask service's databases have in common."""

from collections.abc import AsyncIterator, Collection
from typing import Final, Protocol

USER_COLUMNS: Final = (
    "id", "email", "username", "password_hash", "is_active", "is_admin", "created_at", "updated_at",
)  # fmt: skip
POST_COLUMNS: Final = ("id", "title", "content", "user_id", "created_at", "updated_at")
TABLES: Final = {"users": USER_COLUMNS, "posts": POST_COLUMNS}

# A table's columns as they are stored: SQLite keeps anything anywhere.
Record = tuple[object, ...]


class SourceError(Exception):
    """The old database can't be read; the message is one sentence, without secrets."""


class Source(Protocol):
    """The Flask service's database, only read."""

    async def count(self, table: str) -> int:
        """Return how many rows `records` will yield."""

    def records(self, table: str) -> AsyncIterator[Record]:
        """Read a table in the order of TABLES' columns; raises SourceError."""


def check_columns(table: str, present: Collection[str]) -> None:
    """Raise SourceError for a table that is not there (has no columns) or lacks some."""
    if not present:
        raise SourceError(f"There is no table {table}: this is no database of the Flask service.")
    if missing := [name for name in TABLES[table] if name not in present]:
        raise SourceError(f"The table {table} has no column {', '.join(missing)}.")
