"""Entity tags: nobody overwrites what they have not seen, nobody reads twice what they have."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from service.testing.client import Answer
from tests.support.client import Client

POST = {"title": "First", "content": "Words"}


@pytest.fixture
async def author(client: Client) -> Client:
    return await client.sign_up()


async def write(author: Client) -> tuple[str, str]:
    """Write a post; its path and its entity tag."""
    answer = await author.post("/api/posts", POST)
    assert answer.status == 201
    return answer.headers["Location"], answer.headers["ETag"]


def conditional(name: str, tag: str) -> dict[str, Any]:
    return {"headers": {name: tag}}


async def test_a_new_post_has_version_one_and_the_tag_that_a_read_shows(author: Client) -> None:
    path, tag = await write(author)
    answer = await author.get(path)
    assert answer.json["version"] == 1
    assert answer.json["updated_at"] == answer.json["created_at"]
    assert answer.headers["ETag"] == tag
    assert not tag.startswith("W/")
    assert answer.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_change_raises_the_version(author: Client, method: str) -> None:
    path, tag = await write(author)
    answer = await author.request(method, path, json={"title": "Second"})
    assert answer.status == 200
    assert (answer.json["version"], answer.json["title"]) == (2, "Second")
    assert answer.json["updated_at"] > answer.json["created_at"]
    assert answer.headers["ETag"] != tag
    assert (await author.get(path)).headers["ETag"] == answer.headers["ETag"]


@pytest.mark.parametrize("body", [{}, POST, {"title": "First"}, {"content": "Words", "other": 1}])
async def test_change_of_nothing_keeps_version_and_time(author: Client, body: object) -> None:
    path, tag = await write(author)
    before = await author.get(path)
    answer = await author.put(path, body)
    assert answer.status == 200
    assert answer.json == before.json
    assert answer.headers["ETag"] == tag


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_stale_if_match_is_412_and_changes_nothing(author: Client, method: str) -> None:
    path, stale = await write(author)
    current = await author.put(path, {"title": "Second"})
    options: dict[str, Any] = {} if method == "DELETE" else {"json": {"title": "Third"}}
    answer = await author.request(method, path, **options, **conditional("If-Match", stale))
    assert answer.status == 412
    assert (await author.get(path)).json == current.json


@pytest.mark.parametrize("wrap", ["{}", '"x", {}', '{} , "y"', ', {},, "z"', "*", "  {}  "])
async def test_if_match_takes_lists_and_the_star(author: Client, wrap: str) -> None:
    path, tag = await write(author)
    answer = await author.put(
        path, {"title": "Second"}, **conditional("If-Match", wrap.format(tag))
    )
    assert answer.status == 200
    assert answer.json["version"] == 2


async def test_a_stale_if_match_is_412_even_when_nothing_would_change(author: Client) -> None:
    path, stale = await write(author)
    await author.put(path, {"title": "Second"})
    answer = await author.put(path, {"title": "Second"}, **conditional("If-Match", stale))
    assert answer.status == 412


@pytest.mark.parametrize("junk", ["x", '"', '"a', 'a"', "W/x", '"a" "b"', "*, *", '"a", x', ","])
@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
async def test_malformed_entity_tag_is_400(author: Client, header: str, junk: str) -> None:
    path, _ = await write(author)
    method = "PUT" if header == "If-Match" else "GET"
    body: dict[str, Any] = {"json": {"title": "Second"}} if method == "PUT" else {}
    answer = await author.request(method, path, **body, **conditional(header, junk))
    assert answer.status == 400
    assert header in answer.json["message"]


@pytest.mark.parametrize("wrap", ["{}", "W/{}", '"x", {}', "*"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_matching_if_none_match_is_304_without_a_body(
    author: Client, method: str, wrap: str
) -> None:
    path, tag = await write(author)
    answer = await author.request(method, path, **conditional("If-None-Match", wrap.format(tag)))
    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["ETag"] == tag
    assert answer.headers["Cache-Control"] == "no-cache"


async def test_other_if_none_match_gets_the_post(author: Client) -> None:
    path, _ = await write(author)
    answer = await author.get(path, **conditional("If-None-Match", '"x"'))
    assert answer.status == 200


async def test_entity_tag_changes_with_the_author_s_name(author: Client, db: object) -> None:
    path, tag = await write(author)
    await db.execute("UPDATE users SET username = 'renamed'")  # type: ignore[attr-defined]
    answer = await author.get(path, **conditional("If-None-Match", tag))
    assert answer.status == 200
    assert answer.json["author"] == "renamed"


@pytest.mark.parametrize("path", ["/api/posts", "/api/posts?page=2", "/api/posts?q=words"])
async def test_a_list_has_a_weak_tag_and_answers_304(author: Client, path: str) -> None:
    await write(author)
    first = await author.get(path)
    assert first.headers["ETag"].startswith('W/"')
    again = await author.get(path, **conditional("If-None-Match", first.headers["ETag"]))
    assert (again.status, again.body) == (304, b"")
    await write(author)
    changed = await author.get(path, **conditional("If-None-Match", first.headers["ETag"]))
    assert changed.status == 200


async def test_404_comes_before_403_and_412(client: Client, author: Client) -> None:
    path, tag = await write(author)
    other = await client.sign_up()
    stale = conditional("If-Match", '"9-00000000"')
    gone = path[:-12] + "000000000000"
    assert (await author.put(gone, {"title": "x"}, **stale)).status == 404
    assert (await other.put(path, {"title": "x"}, **stale)).status == 403
    assert (await other.put(path, {"title": "x"}, **conditional("If-Match", tag))).status == 403
    assert (await other.delete(path, **stale)).status == 403


async def test_one_of_twenty_writers_with_one_tag_wins(author: Client) -> None:
    path, tag = await write(author)

    async def put(number: int) -> Answer:
        return await author.put(path, {"title": f"{number}"}, **conditional("If-Match", tag))

    answers = await asyncio.gather(*(put(number) for number in range(20)))
    assert Counter(answer.status for answer in answers) == {200: 1, 412: 19}
    winner = next(answer for answer in answers if answer.status == 200)
    assert (await author.get(path)).json == winner.json
    assert winner.json["version"] == 2


async def test_concurrent_writers_without_a_tag_all_succeed(author: Client) -> None:
    path, _ = await write(author)
    answers = await asyncio.gather(
        *(author.put(path, {"title": f"{number}"}) for number in range(12))
    )
    assert {answer.status for answer in answers} == {200}
    assert sorted(answer.json["version"] for answer in answers) == list(range(2, 14))
