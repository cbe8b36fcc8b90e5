"""People and posts that never were, spread over two years, copied into the database in batches."""

from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from itertools import islice
from random import Random
from typing import Final
from uuid import UUID

from service.auth.passwords import Passwords
from service.canonical import email_key, username_key
from service.cli import demo_text
from service.clock import now
from service.db.connecting import Connection
from service.ids import new_id_at

EMAIL: Final = "demo@example.com"
DOMAIN: Final = "demo.example.com"
SPAN: Final = timedelta(days=730)
BATCH: Final = 5_000
MAX_AUTHORS: Final = 10_000

# Any number: the runs of one database take turns.
_LOCK: Final = 7_042_002
_USER_COLUMNS: Final = (
    "id", "email", "username", "email_key", "username_key", "password_hash", "created_at",
    "updated_at",
)  # fmt: skip
_POST_COLUMNS: Final = ("id", "author_id", "title", "content", "created_at", "updated_at")
_LAST_NUMBER: Final = rf"""
SELECT coalesce(max(substring(email from '\.(\d+)@')::bigint), 0) FROM users
WHERE email LIKE '%@{DOMAIN}'
"""  # noqa: S608 - made of constants
_UPSERT_LOGIN: Final = """
INSERT INTO users (
    id, email, username, email_key, username_key, password_hash, created_at, updated_at
)
SELECT $1, $2, name, $3, name, $5, $6, $6
FROM (SELECT CASE WHEN EXISTS (SELECT FROM users WHERE username_key = 'demo')
    THEN 'demo-' || $4 ELSE 'demo' END AS name) AS free
ON CONFLICT (email_key) WHERE deleted_at IS NULL
    DO UPDATE SET password_hash = excluded.password_hash
"""
_AUTHORS: Final = f"""
SELECT id, created_at FROM (
    SELECT id, created_at FROM users WHERE email = $1 OR email LIKE '%@{DOMAIN}'
    ORDER BY random() LIMIT {MAX_AUTHORS}
) AS chosen ORDER BY created_at
"""  # noqa: S608 - made of constants

User = tuple[UUID, str, str, str, str, str, datetime, datetime]
Post = tuple[UUID, UUID, str, str, datetime, datetime]


async def add_users(connection: Connection, count: int, password: str) -> AsyncIterator[int]:
    """Add people, all with this password, and the one to log in as; yields each batch's size."""
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    start = now() - SPAN
    with closing(Passwords(threads=1)) as passwords:
        hashed = await passwords.hash(password)
    login = new_id_at(start)
    key, suffix = email_key(EMAIL), login.hex[-8:]
    await connection.execute(_UPSERT_LOGIN, login, EMAIL, key, suffix, hashed, start)
    number = await connection.fetchval(_LAST_NUMBER)
    people = _people(count, number, hashed)
    while batch := list(islice(people, BATCH)):
        await connection.copy_records_to_table("users", records=batch, columns=_USER_COLUMNS)
        yield len(batch)


async def add_posts(connection: Connection, count: int) -> AsyncIterator[int]:
    """Add posts of the demonstration's people; yields each batch's size."""
    authors = [(row["id"], row["created_at"]) for row in await connection.fetch(_AUTHORS, EMAIL)]
    posts = _posts(count, authors)
    while batch := list(islice(posts, BATCH)):
        await connection.copy_records_to_table("posts", records=batch, columns=_POST_COLUMNS)
        yield len(batch)


def _people(count: int, last: int, hashed: str) -> Iterator[User]:
    random = Random()  # noqa: S311 - no secrets
    for number, moment in enumerate(_moments(random, count), last + 1):
        username = ".".join((*demo_text.name(random), str(number)))
        email = f"{username}@{DOMAIN}"
        keys = email_key(email), username_key(username)
        yield new_id_at(moment), email, username, *keys, hashed, moment, moment


def _posts(count: int, authors: list[tuple[UUID, datetime]]) -> Iterator[Post]:
    random = Random()  # noqa: S311 - no secrets
    joined = [created_at for _, created_at in authors]
    for written in _moments(random, count):
        members = max(1, bisect_right(joined, written))
        # Some write much, most write little.
        author, since = authors[int(members * random.random() ** 2)]
        moment = max(written, since)
        title, content = demo_text.title(random), demo_text.content(random)
        yield new_id_at(moment), author, title, content, moment, moment


def _moments(random: Random, count: int) -> Iterator[datetime]:
    """Moments in order, from two years ago until now, more and more of them."""
    start = now() - SPAN
    for index in range(count):
        yield start + SPAN * ((index + random.random()) / count) ** 0.6
