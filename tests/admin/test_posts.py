"""What operators find among posts, removed and deleted ones included."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from service.clock import now
from service.db.database import Database
from service.db.query import CompiledQuery
from service.db.read_session import fetch_all
from service.ids import new_id
from service.posts import every_state
from service.posts.every_state import PostState, list_posts_in_every_state
from service.posts.queries import Filters
from service.testing.client import PASSWORD
from service.web.pagination import Position
from tests.support.api_keys import admin, program
from tests.support.client import Client
from tests.support.posts import insert_posts

UNKNOWN = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
async def ada(client: Client) -> Client:
    return await client.sign_up("ada@example.com", username="ada")


@pytest.fixture
async def operator(client: Client) -> Client:
    return await admin(client)


async def write(author: Client, title: str = "Notes", content: str = "On the engine") -> Any:
    answer = await author.post("/api/posts", {"title": title, "content": content})
    assert answer.status == 201, answer.body
    return answer.json


async def listed(operator: Client, **query: object) -> list[dict[str, Any]]:
    answer = await operator.get("/admin/posts", query_string=query)
    assert answer.status == 200, answer.body
    posts: list[dict[str, Any]] = answer.json["posts"]
    return posts


async def titles(operator: Client, **query: object) -> str:
    return "".join(post["title"] for post in await listed(operator, **query))


async def three_states(operator: Client, author: Client) -> list[str]:
    """A visible post A, a removed one R and a deleted one D, oldest first."""
    made = [(await write(author, title))["id"] for title in "ARD"]
    assert (await operator.delete(f"/admin/posts/{made[1]}")).status == 204
    assert (await author.delete(f"/api/posts/{made[2]}")).status == 204
    return made


async def test_posts_are_shown_with_their_state(operator: Client, ada: Client) -> None:
    made = await three_states(operator, ada)
    shown = {post["title"]: post for post in await listed(operator)}
    assert {title: post["state"] for title, post in shown.items()} == {
        "A": "visible",
        "R": "removed",
        "D": "deleted",
    }
    public = (await ada.get(f"/api/posts/{made[0]}")).json
    assert shown["A"] == {**public, "state": "visible", "deleted_at": None}
    assert all(shown[title]["deleted_at"].endswith("Z") for title in "RD")
    for post in shown.values():
        assert (await operator.get(f"/admin/posts/{post['id']}")).json == post
    assert (await operator.get(f"/admin/posts/{UNKNOWN}")).status == 404


async def test_tag_of_a_post_in_any_state_is_another_after_a_removal(
    operator: Client, ada: Client
) -> None:
    post_id = (await write(ada))["id"]
    path = f"/admin/posts/{post_id}"
    tag = (await operator.get(path)).headers["ETag"]
    unchanged = await operator.get(path, headers={"If-None-Match": tag})
    assert (unchanged.status, unchanged.body) == (304, b"")
    assert (await operator.get(path, headers={"If-Match": tag})).status == 200
    assert (await operator.get(path, headers={"If-None-Match": "tag"})).status == 400
    assert (await operator.delete(path)).status == 204
    assert (await operator.get(path, headers={"If-Match": tag})).status == 412
    removed = await operator.get(path, headers={"If-None-Match": tag})
    assert (removed.status, removed.json["state"]) == (200, "removed")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, "DRA"),
        ({"state": "visible"}, "A"),
        ({"state": "removed"}, "R"),
        ({"state": "deleted"}, "D"),
        ({"author": "ADA"}, "DRA"),
        ({"author": "ada", "state": "removed"}, "R"),
        ({"author": "nobody"}, ""),
        ({"q": "engine"}, "DRA"),
        ({"q": "engine", "state": "deleted"}, "D"),
        ({"q": "engine -notes", "author": "ada", "state": "visible"}, "A"),
        ({"q": "loom"}, ""),
        ({"q": "", "author": ""}, "DRA"),
    ],
)
async def test_posts_are_found_by_state_author_and_words(
    operator: Client, ada: Client, query: dict[str, object], found: str
) -> None:
    await three_states(operator, ada)
    assert await titles(operator, **query) == found


async def test_removed_post_that_is_restored_is_visible_again(
    operator: Client, ada: Client
) -> None:
    made = await three_states(operator, ada)
    assert (await operator.post(f"/admin/posts/{made[1]}/restore")).status == 200
    assert await titles(operator, state="visible") == "RA"
    assert await titles(operator, state="removed") == ""


@pytest.mark.parametrize("query", [{}, {"q": "engine"}, {"author": "ada", "q": "engine"}])
async def test_posts_of_every_state_are_read_on_by_cursor(
    operator: Client, ada: Client, query: dict[str, object]
) -> None:
    for _ in range(3):
        await three_states(operator, ada)
    seen, cursor = "", dict[str, str]()
    while True:
        answer = await operator.get("/admin/posts", query_string={**query, **cursor, "per_page": 2})
        seen += "".join(post["title"] for post in answer.json["posts"])
        if answer.json["next_cursor"] is None:
            break
        assert 'rel="next"' in answer.headers["Link"]
        cursor = {"cursor": answer.json["next_cursor"]}
    assert seen == "DRA" * 3


async def test_cursor_of_the_public_list_is_refused(operator: Client, ada: Client) -> None:
    await three_states(operator, ada)
    await write(ada)
    cursor = (await ada.get("/api/posts?per_page=1")).json["next_cursor"]
    assert (await operator.get(f"/admin/posts?cursor={cursor}")).status == 400
    assert (await operator.get("/admin/posts?state=hidden")).status == 400
    assert (await operator.get("/admin/posts?q=%00")).status == 400


async def test_posts_of_a_deleted_account_are_deleted(operator: Client, ada: Client) -> None:
    await three_states(operator, ada)
    assert (await ada.delete("/auth/me", {"password": PASSWORD})).status == 204
    assert await titles(operator, state="visible") == ""
    assert await titles(operator, state="removed") == "R"
    assert await titles(operator, state="deleted") == "DA"
    assert await titles(operator, author="ada") == ""


async def test_post_of_an_author_who_is_being_hidden_is_read_as_deleted(
    operator: Client, ada: Client, db: asyncpg.Connection
) -> None:
    made = await write(ada)
    await db.execute(
        "INSERT INTO hidden_authors VALUES ($1, '2026-11-22 10:00Z')", UUID(ada.user["id"])
    )
    shown = (await operator.get(f"/admin/posts/{made['id']}")).json
    assert shown["state"] == "deleted"
    assert shown["deleted_at"] == "2026-11-22T10:00:00.000000Z"
    assert await titles(operator, state="visible") == ""


async def test_key_with_the_scope_to_read_finds_posts(operator: Client, ada: Client) -> None:
    await three_states(operator, ada)
    reader = await program(operator, "admin:read")
    assert await titles(reader) == "DRA"
    assert (await (await program(operator, "admin:write")).get("/admin/posts")).status == 403


NEWEST = ("ix_posts_newest", "ix_posts_deleted_newest")
WORDS = ("ix_posts_search", "ix_posts_deleted_search")


@pytest.mark.parametrize(
    ("words", "state", "indexes"),
    [
        (None, None, NEWEST),
        (None, PostState.REMOVED, NEWEST[1:]),
        ("content", PostState.DELETED, NEWEST[1:]),
        ("loom", None, WORDS),
        ("loom", PostState.REMOVED, WORDS[1:]),
    ],
)
async def test_list_of_many_posts_is_read_along_indexes(
    ada: Client,
    database: Database,
    db: asyncpg.Connection,
    words: str | None,
    state: PostState | None,
    indexes: Sequence[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = await insert_posts(db, ada.user["id"], 1_000)
    await db.execute("SET session_replication_role = replica")  # without the triggers' counts
    await db.execute(
        "UPDATE posts SET deleted_at = now(), deleted_by_operator = (get_byte(uuid_send(id), 15) "
        "% 2 = 0) WHERE id = ANY($1)",
        [UUID(post_id) for post_id in ids[:700]],
    )
    await db.execute("ANALYZE posts")
    await db.execute("SET enable_seqscan = off")  # as it is for millions
    plans = []

    async def explain(
        session: AsyncSession, query: CompiledQuery, values: Mapping[str, Any]
    ) -> Sequence[Any]:
        explained = await db.fetch(f"EXPLAIN {query.text}", *query.arguments(values))
        plans.append("\n".join(row[0] for row in explained))
        return await fetch_all(session, query, values)

    monkeypatch.setattr(every_state, "fetch_all", explain)
    async with database.read_session() as session:
        found = await list_posts_in_every_state(
            session, Filters(words=words), state, limit=20, after=Position(now(), new_id())
        )
    assert len(found.rows) == (0 if words == "loom" else 20)
    assert "Seq Scan on posts" not in plans[-1]
    for index in indexes:
        assert f" {index} " in plans[-1], plans[-1]


def test_statements_that_are_kept_made_are_bounded() -> None:
    plans = ((PostState.VISIBLE, None),)
    for limit in range(1, every_state.STATEMENTS_MAX + 3):
        every_state._list(plans, limit, by_author=False, after=False)
    assert every_state._list.cache_info().currsize == every_state.STATEMENTS_MAX
