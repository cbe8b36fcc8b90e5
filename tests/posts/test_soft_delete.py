"""Deleted posts: gone from every read, there again when restored, gone for good in the end."""

from datetime import timedelta

import asyncpg
import pytest

from service import clock
from service.db.database import close_session
from service.posts import posts
from service.web.server.application import Service
from tests.support.client import Client

POST = {"title": "Mine", "content": "Words"}


@pytest.fixture
async def author(client: Client) -> Client:
    return await client.sign_up()


async def write(author: Client) -> str:
    return str((await author.post("/api/posts", POST)).headers["Location"])


async def test_a_deleted_post_is_gone_from_every_read(client: Client, author: Client) -> None:
    path = await write(author)
    assert (await author.delete(path)).status == 204
    assert (await client.get(path)).status == 404
    assert (await author.put(path, {"title": "x"})).status == 404
    assert (await author.delete(path)).status == 404
    for query in ("", "?q=words", f"?author={author.user['username']}"):
        answer = await client.get(f"/api/posts{query}")
        assert (answer.json["posts"], answer.json["total"]) == ([], 0)


async def test_author_restores_a_deleted_post_as_it_was(client: Client, author: Client) -> None:
    path = await write(author)
    before = await client.get(path)
    await author.delete(path)
    restored = await author.post(f"{path}/restore")
    assert restored.status == 200
    assert restored.json == before.json
    assert restored.headers["ETag"] == before.headers["ETag"]
    assert (await client.get(path)).json == before.json
    assert (await client.get("/api/posts")).json["total"] == 1


async def test_restoring_a_post_that_is_not_deleted_changes_nothing(author: Client) -> None:
    path = await write(author)
    before = await author.get(path)
    assert (await author.post(f"{path}/restore")).json == before.json


async def test_only_the_author_may_restore_a_post(client: Client, author: Client) -> None:
    path = await write(author)
    await author.delete(path)
    other = await client.sign_up()
    assert (await other.post(f"{path}/restore")).status == 403
    assert (await client.post(f"{path}/restore")).status == 401
    assert (await author.post(f"{path[:-12]}000000000000/restore")).status == 404


async def test_author_may_not_restore_what_an_operator_removed(
    author: Client, db: "asyncpg.Connection"
) -> None:
    path = await write(author)
    await author.delete(path)
    await db.execute("UPDATE posts SET deleted_by_operator = true")
    assert (await author.post(f"{path}/restore")).status == 403
    assert (await author.get(path)).status == 404


async def test_deleted_post_is_removed_after_retention(
    app: Service, author: Client, db: "asyncpg.Connection"
) -> None:
    old, recent, visible = [await write(author) for _ in range(3)]
    await author.delete(old)
    await db.execute(
        "UPDATE posts SET deleted_at = now() - interval '31 days' WHERE NOT deleted_at IS NULL"
    )
    await author.delete(recent)
    session = app.database.session()
    assert await posts.delete_retired_posts(session, clock.now() - timedelta(days=30)) == 1
    await close_session(session, commit=True)
    assert (await author.post(f"{old}/restore")).status == 404
    assert (await author.post(f"{recent}/restore")).status == 200
    assert (await author.get(visible)).status == 200


async def test_post_counts_are_removed_with_their_author(
    author: Client, client: Client, db: "asyncpg.Connection"
) -> None:
    other = await client.sign_up()
    await write(author)
    await write(other)
    await db.execute("DELETE FROM users WHERE id = $1", author.user["id"])
    rows = await db.fetch("SELECT author_id::text, sum(posts) FROM author_post_counts GROUP BY 1")
    assert [tuple(row) for row in rows] == [(other.user["id"], 1)]
    assert (await client.get("/api/posts")).json["total"] == 1
