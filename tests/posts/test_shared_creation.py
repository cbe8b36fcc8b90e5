"""Posts that are created at the same time: one INSERT, and to each its own answer."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest

from service.db.batching import CHARACTERS_MAX
from service.db.pool import CONNECTIONS_PER_READER
from service.observability import context
from service.settings import Settings
from service.testing.client import Answer
from service.web.server.application import Service
from tests.support.client import Client
from tests.support.polling import until
from tests.support.pool import ONE, waits
from tests.support.round_trips import Trips

REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.title = 'refused' THEN RAISE EXCEPTION 'refused' USING ERRCODE = '22000'; END IF;
    IF NEW.title = 'lost' THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON posts FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With one connection that only reads."""
    return settings.model_copy(
        update={"database_pool_size": CONNECTIONS_PER_READER, "database_pool_timeout": 3}
    )


@asynccontextmanager
async def writers_in_use(app: Service) -> AsyncIterator[None]:
    """Hold every connection of the pool that may write."""
    async with AsyncExitStack() as stack:
        for _ in range(CONNECTIONS_PER_READER - 1):
            session = await stack.enter_async_context(app.database.session())
            await session.execute(ONE)
        yield


async def created_at_once(app: Service, authors: Sequence[Client], titles: list[str]) -> list[int]:
    """Create posts that wait for one connection together. Returns the statuses."""
    async with writers_in_use(app):
        creating = [
            asyncio.create_task(author.post("/api/posts", {"title": title, "content": "c"}))
            for author, title in zip(authors, titles, strict=True)
        ]
        await until(lambda: waits(app.database, len(titles)))
    return [answer.status for answer in await asyncio.gather(*creating)]


async def titles_in(db: "asyncpg.Connection") -> list[str]:
    return [title for (title,) in await db.fetch("SELECT title FROM posts ORDER BY title")]


@pytest.fixture
async def ada(client: Client) -> Client:
    return await client.sign_up()


async def test_posts_created_at_the_same_time_are_one_statement(
    app: Service, ada: Client, trips: Trips, monkeypatch: pytest.MonkeyPatch
) -> None:
    for_the_log: Counter[tuple[str, object]] = Counter()
    monkeypatch.setattr(context, "bind", lambda *bound: for_the_log.update([bound]))
    titles = [f"title {number}" for number in range(20)]
    assert await created_at_once(app, [ada] * 20, titles) == [201] * 20
    await asyncio.sleep(0)  # the driver calls its loggers in the loop's next turn
    assert trips.sent.count("INSERT") == 1
    page = (await ada.get("/api/posts?per_page=100")).json
    assert (page["total"], sorted(post["title"] for post in page["posts"])) == (20, sorted(titles))
    assert for_the_log["rows_in_statement", 20] == 20


async def test_each_post_of_a_shared_statement_is_one_event_and_one_count(
    app: Service, ada: Client, client: Client, db: "asyncpg.Connection"
) -> None:
    bob = await client.sign_up()
    assert await created_at_once(app, [ada, bob] * 10, ["t"] * 20) == [201] * 20
    told = await db.fetch("SELECT post_id FROM post_events WHERE kind = 'post.created'")
    assert len(told) == len(set(told)) == 20
    for author in (ada, bob):
        page = await client.get("/api/posts", query_string={"author": author.user["username"]})
        assert page.json["total"] == 10


async def test_author_who_is_being_deleted_gets_401_and_holds_up_nobody_of_the_statement(
    app: Service, ada: Client, client: Client, db: "asyncpg.Connection"
) -> None:
    gone = await client.sign_up()
    async with db.transaction():
        await db.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", gone.user["id"])
        async with writers_in_use(app):
            creating = [
                asyncio.create_task(author.post("/api/posts", {"title": "t", "content": "c"}))
                for author in (ada, gone, ada)
            ]
            await until(lambda: waits(app.database, 3))
        first, deleted, last = creating
        assert [answer.status for answer in await asyncio.gather(first, last)] == [201, 201]
        assert not deleted.done()
        await db.execute("UPDATE users SET deleted_at = now() WHERE id = $1", gone.user["id"])
    assert (await deleted).status == 401
    assert await db.fetchval("SELECT count(*) FROM posts") == 2


async def test_connection_that_does_not_come_free_is_503_once_for_each_of_the_statement(
    app: Service, ada: Client, trips: Trips
) -> None:
    async with writers_in_use(app):
        trips.sent.clear()
        answers = await asyncio.gather(
            *(ada.post("/api/posts", {"title": "t", "content": "c"}) for _ in range(5))
        )
        # They waited for one connection together, and not again each for its own.
        assert app.database.usage().waiting == 0
    assert [answer.status for answer in answers] == [503] * 5
    assert trips.sent.count("INSERT") == 0


async def test_row_that_is_refused_leaves_the_others_of_the_statement(
    app: Service, ada: Client, db: "asyncpg.Connection"
) -> None:
    await db.execute(REFUSE)
    titles = ["first", "refused", "last"]
    assert await created_at_once(app, [ada] * 3, titles) == [201, 500, 201]
    assert await titles_in(db) == ["first", "last"]


async def test_lost_connection_is_503_for_each_of_the_statement(
    app: Service, ada: Client, db: "asyncpg.Connection"
) -> None:
    await db.execute(REFUSE)
    assert await created_at_once(app, [ada] * 3, ["first", "lost", "last"]) == [503] * 3
    assert await db.fetchval("SELECT count(*) FROM posts") == 0


async def test_client_that_leaves_before_the_statement_creates_nothing(
    app: Service, ada: Client, db: "asyncpg.Connection"
) -> None:
    async with writers_in_use(app):
        creating = [
            asyncio.create_task(ada.post("/api/posts", {"title": title, "content": "c"}))
            for title in ("leaves", "stays")
        ]
        await until(lambda: waits(app.database, 2))
        creating[0].cancel()
        await until(lambda: waits(app.database, 1))
    assert (await creating[1]).status == 201
    assert await titles_in(db) == ["stays"]


async def test_statement_is_not_longer_than_its_greatest_length(
    app: Service, ada: Client, trips: Trips
) -> None:
    content = "x" * 100_000
    number = CHARACTERS_MAX // len(content) + 1
    async with writers_in_use(app):
        creating = [
            asyncio.create_task(ada.post("/api/posts", {"title": "t", "content": content}))
            for _ in range(number)
        ]
        await until(lambda: waits(app.database, number))
    answers: list[Answer] = await asyncio.gather(*creating)
    assert [answer.status for answer in answers] == [201] * number
    assert {json.loads(answer.body)["content"] for answer in answers} == {content}
    await asyncio.sleep(0)
    assert trips.sent.count("INSERT") == 2
