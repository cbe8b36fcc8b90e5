"""The order of events, and what is kept of them."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from service import clock
from service.db.database import Database
from service.posts.events import (
    PAGE_BYTES,
    PAGE_EVENTS,
    Position,
    delete_old_events,
    is_known,
    newest_position,
    read_page,
)
from service.settings import Settings
from tests.support.client import Client

BEGINNING = Position(0, 0)
COPIED_MAX = 16_384
INSERT = "INSERT INTO posts (id, author_id, title, content) VALUES ($1, $2, 'Title', $3)"
RETITLE = "UPDATE posts SET title = $2, version = version + 1 WHERE id = $1"


@pytest.fixture
async def author_id(client: Client) -> UUID:
    return UUID((await client.register()).json["id"])


@pytest.fixture
async def other(database_url: str) -> AsyncIterator["asyncpg.Connection"]:
    """A second connection, to write at the same time."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def insert(db: "asyncpg.Connection", author_id: UUID, content: str) -> "asyncpg.Record":
    """Insert a post, and return its event."""
    await db.execute(INSERT, uuid4(), author_id, content)
    (event,) = await db.fetch("SELECT post_id, data FROM post_events ORDER BY id DESC LIMIT 1")
    return event


async def as_json(db: "asyncpg.Connection", post_id: UUID) -> str:
    statement = "SELECT (SELECT data FROM post_as_json(posts) AS data) FROM posts WHERE id = $1"
    data: str = await db.fetchval(statement, post_id)
    return data


async def all_events(db: "asyncpg.Connection") -> list[Position]:
    """Read to the end, waiting while other databases' transactions hold events back."""
    found: list[Position] = []
    while True:
        page = await read_page(db, found[-1] if found else BEGINNING)
        found += [message.position for message in page.messages]
        if not page.messages and not page.held_back:
            return found


async def test_events_that_may_still_be_overtaken_are_held_back(
    db: "asyncpg.Connection", other: "asyncpg.Connection", author_id: UUID
) -> None:
    slow = other.transaction()
    await slow.start()
    await other.execute(INSERT, uuid4(), author_id, "first to begin")
    await db.execute(INSERT, uuid4(), author_id, "first to commit")
    page = await read_page(db, BEGINNING)
    assert (page.messages, page.held_back) == ([], True)
    await slow.commit()
    ids = [row["id"] for row in await db.fetch("SELECT id FROM post_events ORDER BY id")]
    assert [position.id for position in await all_events(db)] == ids[1:]


async def test_events_of_one_post_come_in_the_order_of_its_changes(
    db: "asyncpg.Connection", other: "asyncpg.Connection", author_id: UUID
) -> None:
    post_id = uuid4()
    await db.execute(INSERT, post_id, author_id, "content")
    early = other.transaction()
    await early.start()
    # Its transaction id is the lower one, its change of the post the later.
    await other.execute("SELECT pg_current_xact_id()")
    await db.execute(RETITLE, post_id, "second")
    await other.execute(RETITLE, post_id, "third")
    await early.commit()
    positions = await all_events(db)
    titles = [
        await db.fetchval("SELECT data::json->>'title' FROM post_events WHERE id = $1", position.id)
        for position in positions
    ]
    assert titles == ["Title", "second", "third"]


async def test_one_transaction_s_events_come_in_its_own_order(
    db: "asyncpg.Connection", author_id: UUID
) -> None:
    post_id = uuid4()
    async with db.transaction():
        await db.execute(INSERT, post_id, author_id, "content")
        async with db.transaction():  # a savepoint
            await db.execute(RETITLE, post_id, "other")
        await db.execute("UPDATE posts SET deleted_at = now()")
    await all_events(db)
    kinds = [message.chunk.split(b"\n")[1] for message in (await read_page(db, BEGINNING)).messages]
    assert kinds == [b"event: post.created", b"event: post.updated", b"event: post.deleted"]


@pytest.mark.parametrize(
    ("count", "length", "expected"),
    [(PAGE_EVENTS + 1, 1, PAGE_EVENTS), (5, PAGE_BYTES // 2, 2), (2, PAGE_BYTES + 1, 1)],
)
async def test_pages_of_events_are_bounded_in_number_and_bytes(
    db: "asyncpg.Connection", author_id: UUID, count: int, length: int, expected: int
) -> None:
    await db.executemany(INSERT, [(uuid4(), author_id, "x" * length) for _ in range(count)])
    assert len(await all_events(db)) == count
    page = await read_page(db, BEGINNING)
    assert len(page.messages) == expected
    assert page.full


async def test_cleanup_keeps_young_events_and_the_last_old_one(
    db: "asyncpg.Connection", author_id: UUID, settings: Settings
) -> None:
    await db.executemany(INSERT, [(uuid4(), author_id, "content") for _ in range(6)])
    positions = await all_events(db)
    age = "UPDATE post_events SET created_at = now() - interval '25 hours' WHERE (horizon, id) <= "
    await db.execute(age + "($1, $2)", *positions[3])
    database = Database(settings)
    deleted: list[int] = []
    while not deleted or deleted[-1]:
        async with database.session() as session, session.begin():
            before = clock.now() - timedelta(hours=24)
            deleted.append(await delete_old_events(session, before, batch=3))
    await database.close()
    assert sum(deleted) == 4  # the beginning, too
    now = clock.now()
    assert await all_events(db) == positions[3:]
    known = [await is_known(db, position, now) for position in [BEGINNING, *positions]]
    assert known == [False] * 5 + [True] * 2
    assert await newest_position(db) == positions[5]


async def test_line_separators_of_a_post_are_escaped_in_the_stream(
    db: "asyncpg.Connection", author_id: UUID
) -> None:
    await db.execute(INSERT, uuid4(), author_id, "a\rb\nc\u0085d\u2028e\u2029f\x0b\x0c\x1c\x1d\x1e")
    await all_events(db)
    (message,) = (await read_page(db, BEGINNING)).messages
    # As str.splitlines, on which some clients rely, understands it.
    assert len(message.chunk.decode().splitlines()) == 4


async def test_events_of_long_posts_hold_no_copy(db: "asyncpg.Connection", author_id: UUID) -> None:
    """The limit is in bytes of JSON, in which the letter here takes two."""
    empty = await insert(db, author_id, "")
    room = (COPIED_MAX - len(empty["data"])) // 2
    assert (await insert(db, author_id, "\u00fc" * room))["data"] is not None
    long = await insert(db, author_id, "\u00fc" * (room + 1))
    assert long["data"] is None
    await all_events(db)
    (*_, last) = (await read_page(db, BEGINNING)).messages
    assert f"data: {await as_json(db, long['post_id'])}".encode() in last.chunk


async def test_event_of_a_long_post_that_is_gone_leaves_its_position_alone(
    db: "asyncpg.Connection", author_id: UUID
) -> None:
    deleted, hidden, short = [
        (await insert(db, author_id, "x" * length))["post_id"] for length in (20_000, 20_000, 1)
    ]
    await db.execute("DELETE FROM posts WHERE id = $1", deleted)
    await db.execute("UPDATE posts SET deleted_at = now() WHERE id = $1", hidden)
    positions = await all_events(db)
    chunks = [message.chunk.decode() for message in (await read_page(db, BEGINNING)).messages]
    assert chunks[:2] == [f"id: {position}\n\n" for position in positions[:2]]
    assert [
        str(post) in chunk for post, chunk in zip([short, deleted, hidden], chunks[2:], strict=True)
    ] == [True] * 3
    await db.execute(
        "INSERT INTO hidden_authors (author_id, hidden_at) VALUES ($1, now())", author_id
    )
    await insert(db, author_id, "x" * 20_000)
    await all_events(db)
    (*_, last) = (await read_page(db, BEGINNING)).messages
    assert last.chunk == f"id: {last.position}\n\n".encode()


async def test_event_of_a_long_post_has_the_post_as_it_is_when_it_is_sent(
    db: "asyncpg.Connection", author_id: UUID
) -> None:
    post_id = (await insert(db, author_id, "x" * 20_000))["post_id"]
    await db.execute(RETITLE, post_id, "second")
    await all_events(db)
    created, updated = [message.chunk for message in (await read_page(db, BEGINNING)).messages]
    assert created.partition(b"data:")[2] == updated.partition(b"data:")[2]
    assert b'"title":"second"' in created


def test_event_positions_are_read_as_they_are_written() -> None:
    position = Position(2**63 - 1, 0)
    assert Position.parse(str(position)) == position
