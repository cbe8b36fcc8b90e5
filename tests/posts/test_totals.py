"""Totals over the cap are remembered, and right all the same whatever happens to the posts."""

import asyncio
import random
from uuid import UUID

import asyncpg
import pytest

from service.posts import search, search_totals
from service.posts.search import SearchPlan
from service.posts.search_totals import TotalsCache
from service.settings import Settings
from service.testing.application import running
from service.testing.client import PASSWORD
from service.web.server.application import Service
from tests.support.client import Client
from tests.support.round_trips import Trips

CAP = 8
# How many matches are counted.
ENOUGH = 11
READ = ["SELECT"]
LOSSES = "SELECT sum(losses)::int FROM post_counts"
APPLES = (
    "INSERT INTO posts (id, author_id, title, content) "
    "SELECT gen_random_uuid(), $1, 'apple', 'plain' FROM generate_series(1, $2) RETURNING id"
)
HIDE = "UPDATE posts SET deleted_at = now() WHERE id = $1"


@pytest.fixture(autouse=True)
def small_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "TOTAL_CAP", CAP)


@pytest.fixture(params=SearchPlan)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SearchPlan:
    """Each way to search, whatever is searched for."""
    chosen: SearchPlan = request.param
    monkeypatch.setattr(search, "choose_plan", lambda _hits: chosen)
    return chosen


@pytest.fixture
async def author(client: Client) -> Client:
    return await client.sign_up()


async def apples(db: "asyncpg.Connection", author: Client, count: int) -> list[UUID]:
    return [row["id"] for row in await db.fetch(APPLES, author.user["id"], count)]


async def told(client: Client, path: str = "/api/posts?q=apple") -> int:
    """The total that a search tells; one more than the cap when that is all it tells."""
    answer = await client.get(path)
    assert answer.status == 200, answer.body
    total: int = answer.json["total"]
    capped = answer.json.get("total_capped", False)
    assert total <= CAP
    assert total == CAP or not capped
    assert answer.json["pages"] == -(-total // 20)
    return total + int(capped)


@pytest.mark.usefixtures("way")
async def test_total_follows_deletions_and_restorations(
    author: Client, db: "asyncpg.Connection"
) -> None:
    paths = [f"/api/posts/{post}" for post in await apples(db, author, ENOUGH + 2)]
    for left in reversed(range(len(paths))):
        assert await told(author) == min(left + 1, CAP + 1)
        assert (await author.delete(paths[left])).status == 204
    for left, path in enumerate(paths):
        assert await told(author) == min(left, CAP + 1)
        assert (await author.post(f"{path}/restore")).status == 200
    assert await told(author) == CAP + 1


@pytest.mark.usefixtures("way")
async def test_total_follows_changes_to_other_words_and_back(
    author: Client, db: "asyncpg.Connection"
) -> None:
    paths = [f"/api/posts/{post}" for post in await apples(db, author, ENOUGH)]
    for left in reversed(range(CAP - 2, ENOUGH)):
        assert await told(author) == min(left + 1, CAP + 1)
        assert (await author.put(paths[left], {"title": "pear"})).status == 200
    assert await told(author) == CAP - 2
    for left in range(CAP - 2, ENOUGH):
        assert (await author.put(paths[left], {"content": "an apple again"})).status == 200
        assert await told(author) == min(left + 1, CAP + 1)


@pytest.mark.usefixtures("way")
async def test_total_is_exact_with_many_other_posts_between(
    author: Client, db: "asyncpg.Connection"
) -> None:
    await apples(db, author, CAP - 2)
    await db.execute("UPDATE posts SET created_at = now() - interval '1 day'")
    await db.execute(APPLES.replace("apple", "pear"), author.user["id"], 3 * ENOUGH)
    assert await told(author) == CAP - 2
    for found in (CAP - 1, CAP, CAP + 1, CAP + 1):
        await apples(db, author, 1)
        assert await told(author) == found


async def test_total_follows_the_deletion_of_an_account(
    author: Client, db: "asyncpg.Connection"
) -> None:
    other = await author.sign_up()
    await apples(db, author, CAP)
    await apples(db, other, ENOUGH - CAP)
    by_name = f"/api/posts?q=apple&author={author.user['username']}"
    assert (await told(other), await told(other, by_name)) == (CAP + 1, CAP)
    assert (await author.delete("/auth/me", {"password": PASSWORD})).status == 204
    assert (await told(other), await told(other, by_name)) == (ENOUGH - CAP, 0)


async def test_total_follows_a_username_that_changes_hands(
    author: Client, db: "asyncpg.Connection"
) -> None:
    name, other = author.user["username"], await author.sign_up()
    await apples(db, author, ENOUGH)
    await apples(db, other, 1)
    path = f"/api/posts?q=apple&author={name}"
    assert await told(other, path) == CAP + 1
    assert (await author.patch("/auth/me", {"username": "elsewhere"})).status == 200
    assert await told(other, path) == 0
    assert (await other.patch("/auth/me", {"username": name})).status == 200
    assert await told(other, path) == 1
    assert await told(other, "/api/posts?q=apple&author=elsewhere") == CAP + 1


async def test_total_follows_deletions_by_another_process(
    author: Client, settings: Settings, db: "asyncpg.Connection"
) -> None:
    posts = await apples(db, author, ENOUGH)
    async with running(settings) as another:
        there = Client(another, author.token)
        assert (await told(author), await told(there)) == (CAP + 1, CAP + 1)
        for left in reversed(range(CAP - 1, ENOUGH)):
            assert (await there.delete(f"/api/posts/{posts[left]}")).status == 204
            assert (await told(author), await told(there)) == (min(left, CAP + 1),) * 2


@pytest.mark.usefixtures("way")
async def test_total_follows_a_deletion_once_it_is_committed(
    author: Client, db: "asyncpg.Connection"
) -> None:
    await apples(db, author, ENOUGH)
    losses = await db.fetchval(LOSSES)
    assert await told(author) == CAP + 1
    change = db.transaction()
    await change.start()
    await db.execute("UPDATE posts SET deleted_at = now()")
    assert await told(author) == CAP + 1
    await change.rollback()
    assert await told(author) == CAP + 1
    assert await db.fetchval(LOSSES) == losses
    async with db.transaction():
        await db.execute("UPDATE posts SET deleted_at = now()")
        assert await told(author) == CAP + 1
    assert await told(author) == 0


async def test_total_follows_truncate_and_new_posts(
    author: Client, db: "asyncpg.Connection"
) -> None:
    await apples(db, author, ENOUGH)
    assert await told(author) == CAP + 1
    await db.execute("TRUNCATE posts CASCADE")
    assert await told(author) == 0
    await apples(db, author, 2)
    assert await told(author) == 2


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        ("UPDATE posts SET title = 'pear'", 3),
        ("UPDATE posts SET content = 'plain apple' WHERE id = $1", 1),
        ("UPDATE posts SET title = 'Apple!', version = version + 1, updated_at = now()", 0),
        ("UPDATE posts SET author_id = (SELECT id FROM users WHERE id <> posts.author_id)", 3),
        ("UPDATE posts SET id = gen_random_uuid()", 3),
        ("UPDATE posts SET deleted_at = now() WHERE id = $1", 1),
        ("UPDATE posts SET deleted_at = now() WHERE deleted_at IS NOT NULL", 0),
        ("UPDATE posts SET deleted_at = NULL", 0),
        ("UPDATE posts SET title = 'pear' WHERE deleted_at IS NOT NULL", 0),
        ("DELETE FROM posts WHERE id = $1", 1),
        ("DELETE FROM posts WHERE deleted_at IS NOT NULL", 0),
        ("DELETE FROM users", 3),
        ("TRUNCATE posts CASCADE", 3),
    ],
)
async def test_changes_count_as_losses_when_posts_may_stop_matching(
    author: Client, db: "asyncpg.Connection", change: str, lost: int
) -> None:
    await author.sign_up()
    post, hidden, *_ = await apples(db, author, 4)
    await db.execute(HIDE, hidden)
    before = await db.fetchval(LOSSES)
    await db.execute(change, *([post] if "$1" in change else []))
    assert await db.fetchval(LOSSES) == before + lost


@pytest.mark.proof
@pytest.mark.alone
async def test_losses_of_many_posts_are_counted_in_linear_time(
    author: Client, db: "asyncpg.Connection"
) -> None:
    """A plan that is good for one post and kept would compare each post with each."""
    await db.execute("SET service.post_events = 'off'")
    first, *_ = await apples(db, author, 30_000)
    await db.execute("UPDATE posts SET title = 'pear' WHERE id = $1", first)
    await db.execute("SET statement_timeout = '20s'")
    await db.execute("UPDATE posts SET title = 'pear', deleted_at = NULL")
    assert await db.fetchval(LOSSES) == 30_000


async def test_search_with_a_proven_total_is_one_statement(
    author: Client, db: "asyncpg.Connection", trips: Trips, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_totals, "_GAINS", 3)
    posts = await apples(db, author, ENOUGH)
    path = "/api/posts?q=apple"
    assert await trips.during(author.get(path)) == READ * 2
    assert await trips.during(author.get(path)) == READ
    assert await trips.during(author.get(f"{path}&page=2")) == READ
    # Others' losses and gains count, too: only so many.
    await db.execute("UPDATE posts SET title = 'pear' WHERE id = ANY($1)", posts[:2])
    assert await trips.during(author.get(path)) == READ
    await apples(db, author, 2)
    assert await trips.during(author.get(path)) == READ * 3
    assert await trips.during(author.get(path)) == READ
    await db.execute("DELETE FROM posts WHERE id = ANY($1)", posts[:3])
    assert await trips.during(author.get(path)) == READ * 3


async def test_total_within_the_cap_is_not_cached(
    author: Client, db: "asyncpg.Connection", app: Service
) -> None:
    totals: TotalsCache = app.component(TotalsCache)
    posts = await apples(db, author, CAP)
    await told(author)
    assert len(totals) == 0
    await apples(db, author, 1)
    await told(author)
    assert len(totals) == 1
    await db.execute(HIDE, posts[0])
    await told(author)
    assert len(totals) == 0


@pytest.mark.parametrize("rounds", [5, pytest.param(50, marks=pytest.mark.proof)])
async def test_totals_are_exact_after_each_storm_of_writes(
    author: Client, settings: Settings, db: "asyncpg.Connection", rounds: int
) -> None:
    authors = [author, await author.sign_up()]
    posts = [await apples(db, each, 2 * ENOUGH) for each in authors]
    choose = random.Random(8)
    async with running(settings) as another:
        writers = [*authors, *(Client(another, each.token) for each in authors)]
        for _ in range(rounds):
            kind = choose.choice(["apple", "pear", "delete", "restore"])
            storms = (
                storm(writer, kind, choose.sample(posts[number % 2], 4))
                for number, writer in enumerate(writers)
            )
            await asyncio.gather(*storms)
            for query, condition in questions(authors):
                exact = await db.fetchval(
                    f"SELECT least(count(*), {CAP + 1}) FROM posts JOIN users "
                    f"ON users.id = author_id WHERE posts.deleted_at IS NULL AND {condition}"
                )
                path = f"/api/posts?{query}"
                assert [await told(author, path), await told(writers[-1], path)] == [exact] * 2


def questions(authors: list[Client]) -> list[tuple[str, str]]:
    """Searches, and what the posts that they are to find have."""
    names = [each.user["username"] for each in authors]
    words = [(f"q={word}", f"search @@ post_query('{word}')") for word in ("apple", "pear")]
    return words + [
        (f"{query}&author={name}", f"{condition} AND username = '{name}'")
        for query, condition in words
        for name in names
    ]


async def storm(writer: Client, kind: str, posts: list[UUID]) -> None:
    """Do the same with some posts, and search meanwhile; one kind, so that it adds up."""
    for post in posts:
        path = f"/api/posts/{post}"
        if kind == "delete":
            await writer.delete(path)
        elif kind == "restore":
            await writer.post(f"{path}/restore")
        else:
            await writer.put(path, {"title": kind})
        await writer.get("/api/posts?q=apple")
