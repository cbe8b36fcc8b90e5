"""Writing users and posts into the service's database: what is missing, and nothing else."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from asyncpg import UniqueViolationError

from service.db.connecting import Connection
from service.importing.rows import OldPost, OldUser, Row
from service.importing.source import USER_COLUMNS

# Of one transaction, for a pooler may stand between. No event is written for an imported post.
OPTIONS: Final = """
SET LOCAL statement_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = 0;
SET LOCAL service.post_events = 'off'
"""
KNOWN: Final = "SELECT id FROM {table} WHERE id = ANY($1::uuid[])"
# The lock keeps authors from being deleted before their posts are in.
AUTHORS: Final = (
    "SELECT id, deleted_at FROM users WHERE id = ANY($1::uuid[]) ORDER BY id FOR KEY SHARE"
)
ADD_USERS: Final = """
INSERT INTO {table} (
    id, email, username, password_hash, is_active, is_admin, created_at, updated_at,
    email_key, username_key, password_changed_at
)
SELECT
    id, email, username, password_hash, is_active, is_admin, created_at, updated_at,
    email_key, username_key, updated_at
FROM unnest(
    $1::uuid[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::boolean[],
    $7::timestamptz[], $8::timestamptz[], $9::text[], $10::text[]
) WITH ORDINALITY AS old (
    id, email, username, password_hash, is_active, is_admin, created_at, updated_at,
    email_key, username_key, position
)
{where}
ORDER BY position
ON CONFLICT DO NOTHING
RETURNING id
"""
POST_COLUMNS: Final = (
    "id", "author_id", "title", "content", "created_at", "updated_at", "deleted_at",
)  # fmt: skip
ADD_POSTS: Final = """
INSERT INTO posts (id, author_id, title, content, created_at, updated_at, deleted_at)
SELECT * FROM unnest(
    $1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[],
    $7::timestamptz[]
)
ON CONFLICT DO NOTHING
RETURNING id
"""
NAMES: Final = "SELECT id, email_key, username_key FROM users WHERE deleted_at IS NULL"
CLASHES: Final = """
WITH names AS NOT MATERIALIZED ({names})
SELECT old.id,
    (SELECT id FROM names WHERE names.email_key = old.email_key LIMIT 1) AS email,
    (SELECT id FROM names WHERE names.username_key = old.username_key LIMIT 1) AS username
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS old (id, email_key, username_key)
"""

KEYS: Final = ("email_key", "username_key")

Deletions = Mapping[UUID, datetime | None]


@dataclass
class Outcome:
    """The result of a batch: how many rows were added, and which were refused, with reasons."""

    added: int
    refused: dict[UUID, str]


class Destination:
    """The service's database; each batch is a transaction."""

    add_users_sql: str = ADD_USERS.format(table="users", where="")
    authors_sql: str = AUTHORS
    clashes_sql: str = CLASHES.format(names=NAMES)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add_users(self, users: Sequence[OldUser]) -> Outcome:
        """Add the accounts that are not here; refuses those whose email or username is taken."""
        async with self.transaction():
            new = await self._new("users", users)
            columns = _columns(new, *USER_COLUMNS, *KEYS)
            added = await self._ids(self.add_users_sql, *columns)
            left = [user for user in new if user.id not in added]
            return Outcome(len(added), await self._clashes(left))

    async def add_posts(self, posts: Sequence[OldPost]) -> Outcome:
        """Add the posts that are not here; refuses those whose author is not."""
        async with self.transaction():
            new = await self._new("posts", posts)
            authors = await self._authors(new)
            refused = {
                post.id: f"user_id: there is no account {post.user_id} here"
                for post in new
                if post.user_id not in authors
            }
            good = [post for post in new if post.id not in refused]
            return Outcome(await self.insert_posts(good, authors), refused)

    async def insert_posts(self, posts: Sequence[OldPost], authors: Deletions) -> int:
        """Insert posts, those of deleted accounts as deleted with them; returns how many."""
        rows = [_post_row(post, authors[post.user_id]) for post in posts]
        try:
            # COPY takes half of an INSERT's time, but has no ON CONFLICT.
            async with self._connection.transaction():
                await self._connection.copy_records_to_table(
                    "posts", records=rows, columns=POST_COLUMNS
                )
        except UniqueViolationError:  # an id came twice, or another import was faster
            columns = [list(column) for column in zip(*rows, strict=True)]
            return len(await self._ids(ADD_POSTS, *columns))
        return len(rows)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All or nothing of one batch."""
        async with self._connection.transaction():
            await self._connection.execute(OPTIONS)
            yield

    async def _new(self, table: str, rows: Sequence[Row]) -> list[Row]:
        known = await self._ids(KNOWN.format(table=table), [row.id for row in rows])
        return [row for row in rows if row.id not in known]

    async def _authors(self, posts: Iterable[OldPost]) -> Deletions:
        ids = {post.user_id for post in posts}
        rows = await self._connection.fetch(self.authors_sql, list(ids))
        return {row["id"]: row["deleted_at"] for row in rows}

    async def _clashes(self, users: Sequence[OldUser]) -> dict[UUID, str]:
        """Return, for accounts that were not added, which others have their names."""
        if not users:
            return {}
        columns = _columns(users, "id", *KEYS)
        refused = {}
        for row in await self._connection.fetch(self.clashes_sql, *columns):
            # Their own: the same id came twice, or another import was faster.
            nobody_else = (None, row["id"])
            taken = [name for name in ("email", "username") if row[name] not in nobody_else]
            if taken:
                reasons = (f"{name}: the account {row[name]} has it" for name in taken)
                refused[row["id"]] = "; ".join(reasons)
        return refused

    async def _ids(self, statement: str, *values: object) -> set[UUID]:
        return {row["id"] for row in await self._connection.fetch(statement, *values)}


def _post_row(post: OldPost, deleted_at: datetime | None) -> tuple[object, ...]:
    return (
        post.id, post.user_id, post.title, post.content, post.created_at, post.updated_at,
        deleted_at,
    )  # fmt: skip


def _columns(rows: Sequence[object], *names: str) -> list[list[object]]:
    return [[getattr(row, name) for row in rows] for name in names]
