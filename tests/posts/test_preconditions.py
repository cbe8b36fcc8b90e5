"""If-None-Match on writes, and If-Match on reads (RFC 9110, §13.1 and §13.2.2)."""

from typing import Any

import pytest

from tests.support.client import Client, refused

POST = {"title": "First", "content": "Words"}
# Another version, another author's name, and nothing of ours.
OTHERS = ('"2-00000000"', '"1-00000000"', '"x"', 'W/"9"', '"x", "y"')


async def write(author: Client) -> tuple[str, str]:
    """Write a post; its path and its entity tag."""
    answer = await author.post("/api/posts", POST)
    assert answer.status == 201
    return answer.headers["Location"], answer.headers["ETag"]


def change(method: str) -> dict[str, Any]:
    return {} if method == "DELETE" else {"json": {"title": "Second"}}


@pytest.mark.parametrize("form", ["*", "{}", "W/{}", '"x", {}', ' , "x",W/{} '])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_write_with_a_matching_if_none_match_is_412_and_changes_nothing(
    member: Client, method: str, form: str
) -> None:
    path, tag = await write(member)
    before = await member.get(path)
    headers = {"If-None-Match": form.format(tag)}
    refused(await member.request(method, path, **change(method), headers=headers), 412)
    after = await member.get(path)
    assert (after.status, after.json) == (200, before.json)


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_write_with_another_if_none_match_is_done(
    member: Client, method: str, other: str
) -> None:
    path, _ = await write(member)
    answer = await member.request(method, path, **change(method), headers={"If-None-Match": other})
    assert answer.status == (204 if method == "DELETE" else 200)


@pytest.mark.parametrize("body", [{}, POST])
async def test_matching_if_none_match_is_412_even_when_nothing_would_change(
    member: Client, body: object
) -> None:
    path, tag = await write(member)
    refused(await member.put(path, body, headers={"If-None-Match": tag}), 412)


async def test_tag_of_an_earlier_version_in_if_none_match_lets_the_write_pass(
    member: Client,
) -> None:
    path, earlier = await write(member)
    assert (await member.put(path, {"title": "Second"})).status == 200
    answer = await member.put(path, {"title": "Third"}, headers={"If-None-Match": earlier})
    assert (answer.status, answer.json["version"]) == (200, 3)


@pytest.mark.parametrize(
    ("if_match", "if_none_match", "status"),
    [("{}", '"x"', 200), ("*", "{}", 412), ("{}", "{}", 412), ('"x"', '"x"', 412)],
)
async def test_write_needs_both_of_its_preconditions(
    member: Client, if_match: str, if_none_match: str, status: int
) -> None:
    path, tag = await write(member)
    headers = {"If-Match": if_match.format(tag), "If-None-Match": if_none_match.format(tag)}
    assert (await member.put(path, {"title": "Second"}, headers=headers)).status == status


async def test_missing_and_foreign_posts_are_404_and_403_before_if_none_match_is_compared(
    member: Client, anyone: Client
) -> None:
    path, tag = await write(member)
    gone = path[:-12] + "000000000000"
    stranger = await anyone.sign_up()
    for condition in ("*", tag):
        headers = {"If-None-Match": condition}
        refused(await member.put(gone, POST, headers=headers), 404)
        refused(await stranger.put(path, POST, headers=headers), 403)
        refused(await stranger.delete(path, headers=headers), 403)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["post", "/api/posts", "/api/posts?page=2", "/openapi.json"])
async def test_read_with_if_match_is_412_unless_the_tag_is_current(
    member: Client, method: str, path: str
) -> None:
    if path == "post":
        path, _ = await write(member)
    tag = (await member.get(path)).headers["ETag"]
    for good in ("*", tag, f'"x", {tag}'):
        answer = await member.request(method, path, headers={"If-Match": good})
        assert (answer.status, answer.headers["ETag"]) == (200, tag), good
    for stale in OTHERS:
        answer = await member.request(method, path, headers={"If-Match": stale})
        assert answer.status == 412, stale
        assert "ETag" not in answer.headers


async def test_stale_if_match_of_a_read_comes_before_a_matching_if_none_match(
    member: Client,
) -> None:
    path, tag = await write(member)
    headers = {"If-Match": '"x"', "If-None-Match": tag}
    refused(await member.get(path, headers=headers), 412)
    assert (await member.get(path, headers=headers | {"If-Match": tag})).status == 304


@pytest.mark.parametrize("junk", ["x", '"a', "W/x", "*, *", ","])
@pytest.mark.parametrize(
    ("method", "header"),
    [("PUT", "If-None-Match"), ("DELETE", "If-None-Match"), ("GET", "If-Match")],
)
async def test_precondition_that_is_no_entity_tag_is_400(
    member: Client, method: str, header: str, junk: str
) -> None:
    path, _ = await write(member)
    body = change(method) if method != "GET" else {}
    answer = await member.request(method, path, **body, headers={header: junk})
    assert header in refused(answer, 400)["message"]
