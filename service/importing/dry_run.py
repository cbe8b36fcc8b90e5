"""What an import would do, found by the same statements in a transaction that is rolled back."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self

from service.db.connecting import Connection
from service.importing.destination import ADD_USERS, CLASHES, NAMES, OPTIONS, Deletions, Destination
from service.importing.rows import OldPost

# Takes the accounts that would be added, with the indexes that refuse doubled names.
REHEARSED: Final = (
    "CREATE TEMPORARY TABLE rehearsed (LIKE users INCLUDING DEFAULTS INCLUDING INDEXES)"
)
NOT_TAKEN: Final = """
WHERE NOT EXISTS (
    SELECT FROM users WHERE deleted_at IS NULL AND users.email_key = old.email_key
) AND NOT EXISTS (
    SELECT FROM users WHERE deleted_at IS NULL AND users.username_key = old.username_key
)
"""
REHEARSED_NAMES: Final = f"{NAMES} UNION ALL SELECT id, email_key, username_key FROM rehearsed"  # noqa: S608
EVERYONE: Final = """
SELECT id, deleted_at FROM users WHERE id = ANY($1::uuid[])
UNION ALL SELECT id, deleted_at FROM rehearsed WHERE id = ANY($1::uuid[])
"""


class DryRun(Destination):
    """A destination that keeps nothing: all happens in one transaction that is rolled back."""

    add_users_sql = ADD_USERS.format(table="rehearsed", where=NOT_TAKEN)
    authors_sql = EVERYONE
    clashes_sql = CLASHES.format(names=REHEARSED_NAMES)

    @classmethod
    @asynccontextmanager
    async def begin(cls, connection: Connection) -> AsyncIterator[Self]:
        """Open a dry run that leaves nothing behind."""
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute(OPTIONS)
            await connection.execute(REHEARSED)
            yield cls(connection)
        finally:
            if not connection.is_closed():
                await transaction.rollback()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield

    async def insert_posts(self, posts: Sequence[OldPost], authors: Deletions) -> int:
        return len({post.id for post in posts})
