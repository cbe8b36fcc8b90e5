"""A post's JSON as PostgreSQL writes it for the events, against the one that HTTP answers."""

from uuid import uuid4

import asyncpg
import pytest

from tests.support.client import Client
from tests.support.migrating import migrate

ODD = {
    "title": 'Quotes " \\ / <tag> & \x7f',
    "content": "a\r\nb\tc\x01\x08\x0b\x0c\x1f \u00fc \u2028 \U0001f600",
}
EVENTS = "SELECT data FROM post_events WHERE kind <> 'beginning' ORDER BY id"


async def stored(db: "asyncpg.Connection") -> list[bytes | None]:
    """The data of all events, in UTF-8."""
    return [row["data"] and row["data"].encode() for row in await db.fetch(EVENTS)]


async def test_events_hold_the_http_body_of_the_post_to_the_byte(
    client: Client, db: "asyncpg.Connection"
) -> None:
    author = await client.sign_up()
    created = await author.post("/api/posts", ODD)
    path = created.headers["Location"]
    changed = await author.patch(path, {"title": "Another"})
    await author.delete(path)
    restored = await author.post(f"{path}/restore")
    assert await stored(db) == [created.body, changed.body, None, restored.body]
    assert (await client.get(path)).body == restored.body


@pytest.mark.parametrize("second", ["12:34:56", "12:34:56.5", "12:34:56.000001"])
async def test_events_hold_times_as_http_writes_them(
    client: Client, db: "asyncpg.Connection", second: str
) -> None:
    path = (await (await client.sign_up()).post("/api/posts", ODD)).headers["Location"]
    await db.execute(
        "UPDATE posts SET version = 2, updated_at = created_at, "
        f"created_at = '2026-01-02 {second}+05:30'"
    )
    assert (await stored(db))[-1] == (await client.get(path)).body


async def test_a_post_s_json_costs_no_call_of_a_function(db: "asyncpg.Connection") -> None:
    statement = "SELECT (SELECT data FROM post_as_json(posts) AS data) FROM posts"
    plan = "\n".join(row[0] for row in await db.fetch(f"EXPLAIN (VERBOSE) {statement}"))
    assert "to_char" in plan
    assert "post_as_json" not in plan


async def test_downgrade_writes_the_same_json(
    client: Client, db: "asyncpg.Connection", database_url: str
) -> None:
    post = (await (await client.sign_up()).post("/api/posts", ODD)).json
    await migrate(database_url, "0008", down=True)
    copy_id = str(uuid4())
    await db.execute(
        "INSERT INTO posts (id, author_id, title, content, created_at, updated_at) "
        "SELECT $1, author_id, title, content, created_at, updated_at FROM posts",
        copy_id,
    )
    await db.execute("UPDATE posts SET deleted_at = now() WHERE id = $1", post["id"])
    await db.execute("UPDATE posts SET deleted_at = NULL WHERE id = $1", post["id"])
    created, copied, _, restored = await stored(db)
    assert created == restored
    assert created == (copied or b"").replace(copy_id.encode(), post["id"].encode())
