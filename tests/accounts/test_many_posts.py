"""An account with more posts than one statement hides is deleted at once, its posts by a job."""

import asyncio
import json
from datetime import timedelta
from time import perf_counter
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from service.db.database import Database
from service.jobs.context import JobContext
from service.mail import LogMailer
from service.posts import hidden_authors, search
from service.posts.search import SearchPlan
from service.settings import Settings
from service.testing.application import running, working
from service.testing.client import PASSWORD
from service.worker.cleanup import clean_up
from tests.support.client import Client
from tests.support.polling import until

# The newest posts are the account's.
INSERT = """
INSERT INTO posts (id, author_id, title, content, created_at)
SELECT gen_random_uuid(), $1, 'An apple', 'Plain words', now() + $3 - n * interval '1 ms'
FROM generate_series(1, $2) AS n
"""
LEFT = "SELECT count(*) FROM posts WHERE deleted_at IS NULL"
JOBS = "SELECT payload FROM pgqueuer WHERE entrypoint = 'hide posts' ORDER BY id"
DELETED = "SELECT count(*) FROM post_events WHERE kind = 'post.deleted'"
COUNTED = """
SELECT (SELECT sum(posts)::int FROM post_counts), (SELECT sum(posts)::int FROM author_post_counts),
    (SELECT count(*) FROM hidden_authors), (SELECT count(*) FROM posts WHERE deleted_at IS NULL)
"""

LAST_KINDS = """
SELECT DISTINCT ON (post_id) kind FROM post_events WHERE post_id IS NOT NULL
ORDER BY post_id, horizon DESC, id DESC
"""


@pytest.fixture(autouse=True)
def small_batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("proof") is None:
        monkeypatch.setattr(hidden_authors, "BATCH", 2)


@pytest.fixture
def context(settings: Settings, database: Database) -> JobContext:
    return JobContext(settings, database, LogMailer("a@example.com"))


@pytest.fixture
async def kept(client: Client, db: "asyncpg.Connection") -> Client:
    """An author of three posts, which stay."""
    author = await client.sign_up()
    await insert(db, author, 3, seconds=0)
    return author


@pytest.fixture
async def gone(kept: Client, db: "asyncpg.Connection") -> Client:
    """An author of seven newer posts, whose account is deleted and whose posts are not all."""
    author = await kept.sign_up()
    await insert(db, author, 7)
    await delete(author)
    assert await db.fetchval(LEFT) == 3 + 5
    return author


async def insert(
    db: "asyncpg.Connection", author: Client, number: int, *, seconds: int = 1
) -> None:
    interval = timedelta(seconds=seconds)
    await db.execute(INSERT, UUID(author.user["id"]), number, interval)


async def delete(author: Client) -> None:
    assert (await author.delete("/auth/me", {"password": PASSWORD})).status == 204


async def jobs(db: "asyncpg.Connection") -> list[Any]:
    return [json.loads(row["payload"]) for row in await db.fetch(JOBS)]


async def counted(db: "asyncpg.Connection") -> tuple[object, ...]:
    """The sums of both counters, the hidden authors, and the posts that are not hidden."""
    (row,) = await db.fetch(COUNTED)
    return tuple(row)


async def listed(reader: Client, query: str = "") -> Any:
    """A list, whose total is that of the posts it has by pages and by cursors."""
    whole = (await reader.get(f"/api/posts?per_page=100{query}")).json
    ids = [post["id"] for post in whole["posts"]]
    paged = [(await reader.get(f"/api/posts?per_page=2&page={n}{query}")).json for n in (1, 2, 3)]
    assert [post["id"] for page in paged for post in page["posts"]] == ids
    assert {page["total"] for page in paged} == {whole["total"]}
    after = (
        await reader.get(f"/api/posts?per_page=2&cursor={paged[0]['next_cursor']}{query}")
    ).json
    assert [post["id"] for post in after["posts"]] == ids[2:4]
    return whole


@pytest.mark.parametrize("plan", SearchPlan)
async def test_posts_of_a_deleted_account_are_in_no_list_before_they_are_hidden(
    kept: Client, gone: Client, plan: SearchPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "choose_plan", lambda _hits: plan)
    for query in ("", "&q=apple", f"&author={kept.user['username']}", "&q=plain"):
        answer = await listed(kept, query)
        assert ({post["author"] for post in answer["posts"]}, answer["total"]) == (
            {kept.user["username"]},
            3,
        ), query
    by_name = (await kept.get(f"/api/posts?author={gone.user['username']}")).json
    assert (by_name["posts"], by_name["total"]) == ([], 0)


async def test_post_of_a_deleted_account_can_neither_be_read_nor_changed_before_it_is_hidden(
    kept: Client, gone: Client, db: "asyncpg.Connection"
) -> None:
    await db.execute("UPDATE users SET is_admin = true WHERE id = $1", kept.user["id"])
    find = "SELECT id FROM posts WHERE author_id = $1 AND (deleted_at IS NULL) = $2"
    for shown in (True, False):
        post = await db.fetchval(find, UUID(gone.user["id"]), shown)
        answers = [
            await kept.get(f"/api/posts/{post}"),
            await kept.patch(f"/api/posts/{post}", {"title": "Mine"}),
            await kept.delete(f"/admin/posts/{post}"),
            await kept.post(f"/admin/posts/{post}/restore"),
        ]
        assert [answer.status for answer in answers] == [404] * 4
    assert await db.fetchval("SELECT count(*) FROM posts WHERE version > 1") == 0


async def test_capped_total_follows_the_deletion_of_an_account_with_many_posts(
    kept: Client, client: Client, db: "asyncpg.Connection", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "TOTAL_CAP", 4)
    author = await client.sign_up()
    await insert(db, author, 7)
    path = "/api/posts?q=apple"
    assert (await kept.get(path)).json["total_capped"]
    await delete(author)
    answer = (await kept.get(path)).json
    assert (answer["total"], "total_capped" in answer) == (3, False)


@pytest.mark.usefixtures("gone")
async def test_jobs_hide_each_post_once_however_often_they_run(
    kept: Client, context: JobContext, db: "asyncpg.Connection", monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = await jobs(db)

    async def fail(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(hidden_authors, "enqueue", fail)
        with pytest.raises(RuntimeError, match="killed"):
            await hidden_authors.hide_posts(context, job)
    assert await db.fetchval(LEFT) == 3 + 5  # undone
    done = 0
    while len(waiting := await jobs(db)) > done:
        for _ in range(2):
            await hidden_authors.hide_posts(context, waiting[done])
            assert (await listed(kept))["total"] == 3
        done += 1
    assert await counted(db) == (3, 3, 0, 3)
    assert await db.fetchval(DELETED) == 7
    # They are removed at the account's time.
    times = "SELECT deleted_at FROM posts UNION SELECT deleted_at FROM users"
    assert len(await db.fetch(times)) == 2  # NULL, too
    await hidden_authors.hide_posts(context, job)
    assert await db.fetchval(DELETED) == 7


@pytest.mark.usefixtures("gone")
async def test_cleanup_hides_what_failed_jobs_left(
    context: JobContext, db: "asyncpg.Connection"
) -> None:
    await clean_up(context)
    assert await db.fetchval(LEFT) == 3 + 5
    await db.execute("UPDATE hidden_authors SET hidden_at = hidden_at - interval '61 minutes'")
    await clean_up(context)
    assert await counted(db) == (3, 3, 0, 3)


async def test_posts_changed_during_an_account_s_deletion_are_hidden(
    client: Client, settings: Settings, db: "asyncpg.Connection"
) -> None:
    async with running(settings) as another:
        author = await client.sign_up()
        await insert(db, author, 20)
        paths = [f"/api/posts/{row['id']}" for row in await db.fetch("SELECT id FROM posts")]
        clients = [author, Client(another, author.token)]
        begun = asyncio.Event()

        async def change(caller: Client, number: int) -> None:
            while True:
                path = paths[number]
                await caller.delete(path)
                await caller.post(f"{path}/restore")
                await caller.patch(path, {"title": f"Apple {number}"})
                created = await caller.post("/api/posts", {"title": "An apple", "content": "c"})
                if created.status != 201:
                    return
                begun.set()

        changes = [asyncio.create_task(change(clients[n % 2], n)) for n in range(6)]
        await begun.wait()
        await delete(author)
        gone = await client.get("/api/posts")
        async with working(settings), working(settings):
            await asyncio.gather(*changes)
            await until(lambda: db.fetchval("SELECT count(*) = 0 FROM pgqueuer"))
    assert (gone.json["posts"], gone.json["total"]) == ([], 0)
    assert await counted(db) == (0, 0, 0, 0)
    assert {row["kind"] for row in await db.fetch(LAST_KINDS)} == {"post.deleted"}


@pytest.mark.proof
@pytest.mark.alone
@pytest.mark.timeout(600)
async def test_account_with_300_000_posts_is_deleted_at_once(
    client: Client, settings: Settings, db: "asyncpg.Connection"
) -> None:
    number, limited = 300_000, settings.model_copy(update={"database_statement_timeout": 2})
    kept, gone = await client.sign_up(), await client.sign_up()
    await insert(db, kept, 3_000, seconds=-1_000)
    await db.execute("SET service.post_events = 'off'")
    await insert(db, gone, number)
    await db.execute("RESET service.post_events")
    await db.execute("VACUUM ANALYZE posts")
    longest: dict[str, float] = {}

    async def timed(what: str, reader: Client, path: str) -> Any:
        start = perf_counter()
        answer = await reader.get(path)
        longest[what] = max(longest.get(what, 0), perf_counter() - start)
        assert answer.status == 200, (what, answer.body)
        assert answer.json["total"] == 3_000, what
        assert {post["author"] for post in answer.json["posts"]} == {kept.user["username"]}, what
        return answer.json

    async def look(reader: Client) -> None:
        await timed("first page", reader, "/api/posts")
        await timed("page 100", reader, "/api/posts?page=100")
        await timed("search", reader, "/api/posts?q=apple")
        await timed(
            "search by author", reader, f"/api/posts?q=apple&author={kept.user['username']}"
        )

    async with running(limited) as app:
        reader, owner = Client(app), Client(app, gone.token)
        start = perf_counter()
        await delete(owner)
        longest["deletion"] = perf_counter() - start
        await look(reader)
        async with working(limited):
            while await db.fetchval("SELECT EXISTS (SELECT FROM hidden_authors)"):
                await look(reader)
    assert await counted(db) == (3_000, 3_000, 0, 3_000)
    assert await db.fetchval(DELETED) == number
    assert longest["deletion"] < 1, longest
    assert longest["first page"] < 2, longest
