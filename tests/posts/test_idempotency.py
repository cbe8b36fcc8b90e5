"""Idempotency keys: one post per key, however often and however concurrently it is sent."""

import asyncio
from collections import Counter

import asyncpg
import pytest

from service.testing.client import Answer
from tests.support.client import Client
from tests.support.polling import until

POST = {"title": "Once", "content": "Words"}


@pytest.fixture
async def author(client: Client) -> Client:
    return await client.sign_up()


def send(author: Client, key: str, body: object = None) -> asyncio.Future[Answer]:
    headers = {"Idempotency-Key": key}
    return asyncio.ensure_future(author.post("/api/posts", body or POST, headers=headers))


async def count(db: "asyncpg.Connection", table: str = "posts") -> int:
    found: int = await db.fetchval(f"SELECT count(*) FROM {table}")
    return found


async def test_same_idempotency_key_and_body_get_the_first_answer(
    author: Client, db: "asyncpg.Connection"
) -> None:
    first, second = await send(author, "k"), await send(author, "k")
    assert (first.status, second.status) == (201, 201)
    assert second.body == first.body
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    for name in ("Location", "ETag", "Content-Type"):
        assert second.headers[name] == first.headers[name]
    assert await count(db) == 1


async def test_idempotent_replay_ignores_later_changes_of_the_post(author: Client) -> None:
    first = await send(author, "k")
    await author.put(first.headers["Location"], {"title": "Other"})
    assert (await send(author, "k")).body == first.body


async def test_unknown_members_do_not_make_another_body(author: Client) -> None:
    await send(author, "k")
    again = await send(author, "k", {**POST, "unknown": 1})
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_same_idempotency_key_with_another_body_is_422(
    author: Client, db: "asyncpg.Connection"
) -> None:
    await send(author, "k")
    answer = await send(author, "k", {**POST, "title": "Twice"})
    assert answer.status == 422
    assert await count(db) == 1


async def test_idempotency_keys_belong_to_their_user(client: Client, author: Client) -> None:
    other = await client.sign_up()
    first, second = await send(author, "k"), await send(other, "k")
    assert first.json["id"] != second.json["id"]


async def test_failed_request_stores_no_idempotency_key(
    author: Client, db: "asyncpg.Connection"
) -> None:
    assert (await send(author, "k", {"title": "", "content": "x"})).status == 400
    assert await count(db, "idempotency_keys") == 0
    assert (await send(author, "k")).status == 201


async def test_idempotency_key_that_cannot_be_stored_writes_no_post(
    author: Client, db: "asyncpg.Connection"
) -> None:
    await db.execute("ALTER TABLE idempotency_keys ADD CONSTRAINT refuse CHECK (false)")
    assert (await send(author, "k")).status == 500
    assert await count(db) == 0
    await db.execute("ALTER TABLE idempotency_keys DROP CONSTRAINT refuse")
    assert (await send(author, "k")).status == 201
    assert await count(db) == 1


@pytest.mark.parametrize("key", ["", " ", "a b", "ä", "\x7f", "a" * 256])
async def test_malformed_idempotency_key_is_400(
    author: Client, key: str, db: "asyncpg.Connection"
) -> None:
    assert (await send(author, key)).status == 400
    assert await count(db) == 0


async def test_idempotency_key_of_255_characters_is_taken(author: Client) -> None:
    assert (await send(author, "~" * 255)).status == 201


async def test_idempotency_key_is_forgotten_after_a_day(
    author: Client, db: "asyncpg.Connection"
) -> None:
    await send(author, "k")
    await db.execute("UPDATE idempotency_keys SET created_at = now() - interval '24 hours'")
    answer = await send(author, "k", {**POST, "title": "The next day"})
    assert answer.status == 201
    assert "Idempotency-Replayed" not in answer.headers
    assert (await send(author, "k", {**POST, "title": "The next day"})).body == answer.body


async def test_twenty_concurrent_requests_with_one_key_make_one_post(
    author: Client, db: "asyncpg.Connection"
) -> None:
    for number in range(5):
        answers = await asyncio.gather(*(send(author, f"k{number}") for _ in range(20)))
        created = [answer for answer in answers if answer.status == 201]
        fresh = [a for a in created if "Idempotency-Replayed" not in a.headers]
        assert len(fresh) == 1
        assert {answer.body for answer in created} == {fresh[0].body}
        assert Counter(answer.status for answer in answers).keys() <= {201, 409}
        assert await count(db) == number + 1


async def test_first_answer_with_an_idempotency_key_is_that_of_any_creation(author: Client) -> None:
    post = {"title": 'Ünïcode \u2028 " \\ \U0001f600', "content": "line\r\n\ttab"}
    keyed, plain = await send(author, "k", post), await author.post("/api/posts", post)
    assert keyed.json.keys() == plain.json.keys()
    own = {"id", "created_at", "updated_at"}
    shown = [{n: v for n, v in a.json.items() if n not in own} for a in (keyed, plain)]
    assert shown[0] == shown[1]
    assert keyed.headers["ETag"] == plain.headers["ETag"]
    assert (await author.get(keyed.headers["Location"])).json == keyed.json


async def test_deleted_author_creates_nothing_with_an_idempotency_key(
    author: Client, db: "asyncpg.Connection"
) -> None:
    await db.execute("UPDATE users SET deleted_at = now()")
    assert (await send(author, "k")).status == 401
    assert (await count(db), await count(db, "idempotency_keys")) == (0, 0)


async def test_repetition_with_an_idempotency_key_writes_no_row(
    author: Client, db: "asyncpg.Connection"
) -> None:
    await send(author, "k")
    before = await db.fetchval("SELECT pg_relation_size('posts')")
    for _ in range(100):
        assert (await send(author, "k")).status == 201
    assert await db.fetchval("SELECT pg_relation_size('posts')") == before


async def test_idempotency_key_of_a_request_under_way_is_409(
    author: Client, db: "asyncpg.Connection"
) -> None:
    async def under_way() -> bool:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(await db.fetchval(waiting) == 1)

    async with db.transaction():
        await db.execute("SELECT FROM users FOR UPDATE")
        first = send(author, "k")
        await until(under_way)
        assert (await send(author, "k")).status == 409
    assert (await first).status == 201
    assert (await send(author, "k")).body == (await first).body
