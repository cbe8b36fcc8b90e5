"""GET /api/posts: pages, and a total that is always exact."""

import asyncio
from typing import Any

import asyncpg
import pytest

from tests.support.client import Client, faults
from tests.support.posts import insert_posts
from tests.support.round_trips import Trips

JUNK = [
    "0",
    "-1",
    "+1",
    "1.0",
    "1_000",
    " 1",
    "1 ",
    "1e3",
    "0x1",
    "99999999999999999999",
    "9" * 5000,
    "",
    "a",
    "%00",
    "%ff",
    "%D9%A3",
    "%C2%B9",
    "null",
    "1,2",
    "-0",
]


async def listed(client: Client, query: str = "") -> dict[str, Any]:
    answer = await client.get(f"/api/posts{query}")
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


async def count_both(client: Client, db: "asyncpg.Connection") -> tuple[int, int]:
    """What the list says and what is there."""
    visible = "SELECT count(*) FROM posts WHERE deleted_at IS NULL"
    return (await listed(client))["total"], await db.fetchval(visible)


async def test_list_without_posts_is_empty(client: Client) -> None:
    found = await listed(client)
    assert {"posts", "total", "pages", "current_page"} <= set(found)
    assert (found["posts"], found["total"], found["pages"], found["current_page"]) == ([], 0, 0, 1)


async def test_list_shows_posts_as_single_reads_do(client: Client) -> None:
    ada = await client.sign_up()
    post = (await ada.post("/api/posts", {"title": "a", "content": "b"})).json
    assert (await listed(client))["posts"] == [post]


async def test_list_begins_with_the_newest_posts(client: Client) -> None:
    ada = await client.sign_up()
    for title in "abc":
        await ada.post("/api/posts", {"title": title, "content": "b"})
    assert [post["title"] for post in (await listed(client))["posts"]] == ["c", "b", "a"]


async def test_pages_show_each_post_of_one_moment_once(
    client: Client, db: "asyncpg.Connection"
) -> None:
    ada = await client.sign_up()
    ids = await insert_posts(db, ada.user["id"], 23)
    pages = [await listed(client, f"?page={page}&per_page=5") for page in range(1, 7)]
    assert [post["id"] for page in pages for post in page["posts"]] == ids
    assert [len(page["posts"]) for page in pages] == [5, 5, 5, 5, 3, 0]
    assert {(page["total"], page["pages"]) for page in pages} == {(23, 5)}
    assert [page["current_page"] for page in pages] == [1, 2, 3, 4, 5, 6]


async def test_pages_of_one_author_leave_out_the_others(
    client: Client, db: "asyncpg.Connection"
) -> None:
    ada, bob = await client.sign_up(), await client.sign_up()
    ids = await insert_posts(db, ada.user["id"], 7)
    await insert_posts(db, bob.user["id"], 7)
    query = f"author={ada.user['username']}&per_page=3"
    pages = [await listed(client, f"?{query}&page={page}") for page in range(1, 5)]
    assert [post["id"] for page in pages for post in page["posts"]] == ids
    assert {(page["total"], page["pages"]) for page in pages} == {(7, 3)}
    assert {post["author"] for page in pages for post in page["posts"]} == {ada.user["username"]}


@pytest.mark.parametrize(
    ("per_page", "pages"), [(1, 20), (19, 2), (20, 1), (21, 1), (100, 1), (3, 7)]
)
async def test_number_of_pages_follows_from_the_total(
    client: Client, db: "asyncpg.Connection", per_page: int, pages: int
) -> None:
    ada = await client.sign_up()
    await insert_posts(db, ada.user["id"], 20)
    found = await listed(client, f"?per_page={per_page}")
    assert (found["pages"], len(found["posts"])) == (pages, min(per_page, 20))


async def test_a_page_has_20_posts_unless_asked(client: Client, db: "asyncpg.Connection") -> None:
    ada = await client.sign_up()
    await insert_posts(db, ada.user["id"], 21)
    assert len((await listed(client))["posts"]) == 20


@pytest.mark.parametrize("page", [2, 1_000_000])
async def test_page_past_the_end_is_empty(client: Client, page: int) -> None:
    ada = await client.sign_up()
    await ada.post("/api/posts", {"title": "a", "content": "b"})
    found = await listed(client, f"?page={page}")
    assert (found["posts"], found["total"], found["current_page"]) == ([], 1, page)


@pytest.mark.parametrize("name", ["page", "per_page"])
@pytest.mark.parametrize("value", JUNK)
async def test_page_that_is_no_positive_integer_is_named(
    anyone: Client, name: str, value: str
) -> None:
    assert faults(await anyone.get(f"/api/posts?{name}={value}")) == {name}


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("per_page=101", "per_page"),
        ("page=1000001", "page"),
        ("page=1&page=2", "page"),
        ("per_page=1&per_page=1", "per_page"),
    ],
)
async def test_page_beyond_the_limits_is_named(anyone: Client, query: str, name: str) -> None:
    assert faults(await anyone.get(f"/api/posts?{query}")) == {name}


async def test_faults_of_page_and_per_page_are_listed_at_once(anyone: Client) -> None:
    assert faults(await anyone.get("/api/posts?page=x&per_page=y")) == {"page", "per_page"}


async def test_list_total_is_exact_after_a_storm_of_writes(
    client: Client, db: "asyncpg.Connection"
) -> None:
    people = [await client.sign_up() for _ in range(3)]

    async def write_and_delete(person: Client, number: int) -> None:
        answer = await person.post("/api/posts", {"title": "a", "content": "b"})
        if number % 5 == 0:
            await person.delete(f"/api/posts/{answer.json['id']}")

    await asyncio.gather(
        *(write_and_delete(people[number % 3], number) for number in range(60)),
        *(people[0].post("/api/posts", {"title": "", "content": "b"}) for _ in range(10)),
    )
    assert await count_both(client, db) == (48, 48)
    await db.execute("DELETE FROM users WHERE username = $1", people[0].user["username"])
    total, there = await count_both(client, db)
    assert total == there < 48


async def test_list_total_is_exact_after_a_rollback(
    client: Client, db: "asyncpg.Connection"
) -> None:
    ada = await client.sign_up()
    await insert_posts(db, ada.user["id"], 3)
    transaction = db.transaction()
    await transaction.start()
    await insert_posts(db, ada.user["id"], 7)
    await db.execute("DELETE FROM posts WHERE title = 'none'")
    await transaction.rollback()
    assert await count_both(client, db) == (3, 3)


async def test_post_inserted_as_deleted_is_neither_counted_nor_an_event(
    client: Client, db: "asyncpg.Connection"
) -> None:
    ada, bob = await client.sign_up(), await client.sign_up()
    insert = (
        "INSERT INTO posts (id, author_id, title, content, deleted_at) "
        "SELECT gen_random_uuid(), author_id, 'a', 'b', CASE WHEN n > $2 THEN now() END "
        "FROM generate_series(1, 6) AS n, unnest($1::uuid[]) AS author_id"
    )
    authors = [ada.user["id"], bob.user["id"]]
    for visible, total in ((0, 0), (2, 4), (6, 16)):
        await db.execute(insert, authors, visible)
        assert await count_both(client, db) == (total, total)
        told = "SELECT count(*) FROM post_events WHERE kind = 'post.created'"
        assert await db.fetchval(told) == total
    assert (await listed(client, f"?author={bob.user['username']}"))["total"] == 8


async def test_list_total_is_exact_after_truncate(client: Client, db: "asyncpg.Connection") -> None:
    ada = await client.sign_up()
    await insert_posts(db, ada.user["id"], 3)
    await db.execute("TRUNCATE posts")
    assert await count_both(client, db) == (0, 0)


async def test_lists_that_are_asked_at_once_are_one_statement(client: Client, trips: Trips) -> None:
    author = await client.sign_up()
    await author.post("/api/posts", {"title": "one", "content": "x"})
    trips.sent.clear()
    answers = await asyncio.gather(*(client.get("/api/posts") for _ in range(5)))
    assert {answer.body for answer in answers} == {answers[0].body}
    assert trips.sent == ["SELECT"]


async def test_lists_that_are_asked_at_once_have_the_links_and_conditions_of_each(
    client: Client,
) -> None:
    author = await client.sign_up()
    await author.post("/api/posts", {"title": "one", "content": "x"})
    tag = (await author.get("/api/posts")).headers["ETag"]
    name = author.user["username"]
    known, lower, upper = await asyncio.gather(
        author.get("/api/posts", headers={"If-None-Match": tag}),
        author.get(f"/api/posts?author={name}"),
        author.get(f"/api/posts?author={name.upper()}"),
    )
    assert (known.status, lower.status, upper.status) == (304, 200, 200)
    assert f"author={name}&" in lower.headers["Link"]
    assert f"author={name.upper()}&" in upper.headers["Link"]
