"""Filters: by author, by words, and what the totals promise."""

import asyncio
import random

import asyncpg
import pytest

from service.posts import search
from tests.support.client import Client


@pytest.fixture
async def author(client: Client) -> Client:
    return await client.sign_up()


async def write(author: Client, title: str, content: str = "plain") -> str:
    answer = await author.post("/api/posts", {"title": title, "content": content})
    assert answer.status == 201
    return str(answer.json["id"])


async def titles(client: Client, query: str) -> list[str]:
    answer = await client.get(f"/api/posts?{query}")
    assert answer.status == 200, answer.body
    assert answer.json["total"] == len(answer.json["posts"])
    return [post["title"] for post in answer.json["posts"]]


async def test_author_filter_reads_the_name_in_any_case(client: Client, author: Client) -> None:
    other = await client.sign_up()
    await write(author, "mine")
    await write(other, "theirs")
    assert await titles(client, f"author={author.user['username'].upper()}") == ["mine"]
    assert await titles(client, "author=nobody") == []
    assert await titles(client, "author=") == ["theirs", "mine"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("apple", ["apple pie", "apple"]),
        ("APPLE", ["apple pie", "apple"]),
        ("apple pie", ["apple pie"]),
        ('"pie apple"', []),
        ("apple -pie", ["apple"]),
        ("pie or pear", ["pear", "apple pie"]),
        ("sweet", ["pear"]),
        ("appl", []),
        ("'; drop table posts; --", []),
        ("& | ! ( :*", []),
        ("", ["pear", "apple pie", "apple"]),
    ],
)
async def test_search_takes_websearch_syntax(author: Client, words: str, found: list[str]) -> None:
    await write(author, "apple")
    await write(author, "apple pie")
    await write(author, "pear", "sweet")
    answer = await author.get("/api/posts", query_string={"q": words})
    assert [post["title"] for post in answer.json["posts"]] == found
    assert answer.json["total"] == len(found)
    assert "total_capped" not in answer.json


@pytest.mark.parametrize("query", ["q=a%00b", "author=a%00b", "q=" + "a" * 1001, "q=a&q=b"])
async def test_bad_filters_are_400(client: Client, query: str) -> None:
    assert (await client.get(f"/api/posts?{query}")).status == 400


async def test_filters_and_cursors_work_together(client: Client, author: Client) -> None:
    other = await client.sign_up()
    mine = [await write(author, f"apple {number}") for number in range(5)]
    await write(other, "apple")
    await write(author, "pear")
    path = f"/api/posts?q=apple&author={author.user['username']}&per_page=2"
    first = await client.get(path)
    assert first.json["total"] == 5
    seen = [post["id"] for post in first.json["posts"]]
    cursor = first.json["next_cursor"]
    while cursor:
        answer = await client.get(f"{path}&cursor={cursor}")
        seen += [post["id"] for post in answer.json["posts"]]
        cursor = answer.json["next_cursor"]
    assert seen == mine[::-1]


@pytest.mark.parametrize(("ubiquitous", "common"), [(0, 0), (10**9, 0), (10**9, 10**9)])
async def test_every_search_plan_finds_the_same_posts(
    author: Client, monkeypatch: pytest.MonkeyPatch, ubiquitous: int, common: int
) -> None:
    monkeypatch.setattr(search, "_UBIQUITOUS", ubiquitous)
    monkeypatch.setattr(search, "_COMMON", common)
    written = [await write(author, f"{'apple' if n % 3 else 'pear'} {n}") for n in range(9)]
    matching = [written[n] for n in range(9) if n % 3][::-1]
    first = await author.get("/api/posts?q=apple&per_page=4")
    assert first.json["total"] == 6
    second = await author.get("/api/posts?q=apple&per_page=4&page=2")
    by_cursor = await author.get(f"/api/posts?q=apple&cursor={first.json['next_cursor']}")
    assert [post["id"] for post in first.json["posts"]] == matching[:4]
    assert [post["id"] for post in second.json["posts"]] == matching[4:]
    assert [post["id"] for post in by_cursor.json["posts"]] == matching[4:]


async def test_search_total_stops_at_its_cap(author: Client, db: "asyncpg.Connection") -> None:
    await db.execute(
        "INSERT INTO posts (id, author_id, title, content) SELECT gen_random_uuid(), $1, "
        "CASE WHEN n = 1 THEN 'rare' ELSE 'often' END, 'always' FROM generate_series(1, 10001) n",
        author.user["id"],
    )
    for words, total, capped in (
        ("always", 10_000, True),
        ("often", 10_000, None),
        ("rare", 1, None),
    ):
        answer = await author.get(f"/api/posts?q={words}")
        assert answer.json["total"] == total
        assert answer.json["pages"] == -(-total // 20)
        assert answer.json.get("total_capped") is capped
    last = await author.get("/api/posts?q=always&page=500")
    assert len(last.json["posts"]) == 20


async def test_search_totals_are_exact_after_a_storm_of_writes(
    client: Client, author: Client, db: "asyncpg.Connection"
) -> None:
    authors = [author, await client.sign_up(), await client.sign_up()]

    async def storm(seed: int) -> None:
        choose = random.Random(seed)
        mine = authors[seed % 3]
        ids = [await write(mine, "start")]
        for _ in range(25):
            path = f"/api/posts/{choose.choice(ids)}"
            match choose.randrange(5):
                case 0 | 1:
                    ids.append(await write(mine, "more"))
                case 2:
                    await mine.delete(path)
                case 3:
                    await mine.post(f"{path}/restore")
                case 4:
                    headers = {"If-Match": '"9-00000000"'}
                    await mine.put(path, {"title": "refused"}, headers=headers)

    await asyncio.gather(*(storm(seed) for seed in range(6)))
    visible = "SELECT count(*) FROM posts WHERE deleted_at IS NULL"
    assert (await client.get("/api/posts")).json["total"] == await db.fetchval(visible)
    for each in authors:
        found = await client.get(f"/api/posts?author={each.user['username']}")
        counted = await db.fetchval(f"{visible} AND author_id = $1", each.user["id"])
        assert found.json["total"] == counted
    await db.execute("DELETE FROM users WHERE id = $1", author.user["id"])
    assert (await client.get("/api/posts")).json["total"] == await db.fetchval(visible)
