"""Cursors: each post once, none left out, whatever others write."""

import asyncio
import random
import re
from collections import Counter
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from tests.support.client import Client

COPY = (
    "INSERT INTO posts (id, author_id, title, content, created_at) "
    "SELECT gen_random_uuid(), $1, 'Post ' || n, 'Words', now() - (n / 3) * interval '1 second' "
    "FROM generate_series(1, $2::int) AS n"
)


@pytest.fixture
async def author(client: Client) -> Client:
    return await client.sign_up()


async def walk(client: Client, first: str) -> list[str]:
    """Follow `next` to the end; the ids in the order of their reading."""
    path: str | None = first
    seen: list[str] = []
    while path:
        answer = await client.get(path)
        assert answer.status == 200
        seen += [post["id"] for post in answer.json["posts"]]
        path = links(answer.headers.get("Link", "")).get("next")
        assert (path is None) == (answer.json["next_cursor"] is None)
    return seen


def links(header: str) -> dict[str, str]:
    return {rel: target for target, rel in re.findall(r'<([^>]*)>; rel="(\w+)"', header)}


@pytest.mark.parametrize("per_page", [1, 7, 20, 100])
async def test_cursors_walk_through_the_whole_table(
    author: Client, db: "asyncpg.Connection", per_page: int
) -> None:
    await db.execute(COPY, author.user["id"], 61)
    rows = await db.fetch("SELECT id FROM posts ORDER BY created_at DESC, id DESC")
    assert await walk(author, f"/api/posts?per_page={per_page}") == [str(row["id"]) for row in rows]


async def test_answer_to_a_cursor_has_only_posts_and_next_cursor(
    author: Client, db: "asyncpg.Connection"
) -> None:
    await db.execute(COPY, author.user["id"], 3)
    first = await author.get("/api/posts?per_page=1")
    assert set(first.json) == {"posts", "next_cursor", "total", "pages", "current_page"}
    second = await author.get(f"/api/posts?per_page=1&cursor={first.json['next_cursor']}")
    assert set(second.json) == {"posts", "next_cursor"}


async def test_link_header_leads_through_pages_and_keeps_filters(
    author: Client, db: "asyncpg.Connection"
) -> None:
    await db.execute(COPY, author.user["id"], 5)
    name = author.user["username"]
    answer = await author.get(f"/api/posts?page=2&per_page=2&author={name}&q=words")
    found = links(answer.headers["Link"])
    assert set(found) == {"first", "prev", "next", "last"}
    query = {rel: parse_qs(urlsplit(target).query) for rel, target in found.items()}
    assert all(
        each["author"] == [name] and each["q"] == ["words"] and each["per_page"] == ["2"]
        for each in query.values()
    )
    assert (query["first"]["page"], query["prev"]["page"]) == (["1"], ["1"])
    assert query["last"]["page"] == ["3"]
    assert query["next"]["cursor"] == [answer.json["next_cursor"]]


@pytest.mark.parametrize("change", ["truncate", "flip", "pad", "space", "append", "empty", "junk"])
async def test_foreign_cursor_is_400(author: Client, db: "asyncpg.Connection", change: str) -> None:
    await db.execute(COPY, author.user["id"], 2)
    cursor = (await author.get("/api/posts?per_page=1")).json["next_cursor"]
    forged = {
        "truncate": cursor[:-1],
        "flip": cursor[:10] + ("A" if cursor[10] != "A" else "B") + cursor[11:],
        "pad": cursor + "%3D%3D",
        "space": cursor[:5] + "%20" + cursor[5:],
        "append": cursor + "AAAA",
        "empty": "",
        "junk": "%C3%A4",
    }[change]
    answer = await author.get(f"/api/posts?cursor={forged}")
    assert answer.status == 400
    assert "cursor" in answer.json["errors"]


async def test_cursor_and_page_exclude_each_other(author: Client, db: "asyncpg.Connection") -> None:
    await db.execute(COPY, author.user["id"], 2)
    cursor = (await author.get("/api/posts?per_page=1")).json["next_cursor"]
    assert (await author.get(f"/api/posts?cursor={cursor}&page=1")).status == 400


@pytest.mark.proof
async def test_cursor_reader_sees_each_lasting_post_exactly_once(
    author: Client, db: "asyncpg.Connection"
) -> None:
    await db.execute(COPY, author.user["id"], 10_000)
    rows = await db.fetch("SELECT id FROM posts")
    everything = [str(row["id"]) for row in rows]
    touched: set[str] = set()
    done = asyncio.Event()

    async def disturb(seed: int) -> None:
        choose = random.Random(seed)
        while not done.is_set():
            await author.post("/api/posts", {"title": "New", "content": "Words"})
            victim = choose.choice(everything)
            touched.add(victim)
            if (
                await author.delete(f"/api/posts/{victim}")
            ).status == 204 and choose.random() < 0.7:
                await author.post(f"/api/posts/{victim}/restore")

    writers = [asyncio.create_task(disturb(seed)) for seed in range(4)]
    seen = Counter(await walk(author, "/api/posts?per_page=100"))
    done.set()
    await asyncio.gather(*writers)
    assert max(seen.values()) == 1
    assert set(everything) - touched <= set(seen)
    assert len(touched) > 20
