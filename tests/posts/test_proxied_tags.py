"""Entity tags as compressing proxies rewrite them: weakened, or with the coding at the end."""

from typing import Any

import pytest

from tests.support.client import Client, refused

POST = {"title": "First", "content": "Words"}
# How proxies write the tag "{}".
FORMS = (
    'W/"{}"',
    *(f'{weak}"{{}}{coding}"' for weak in ("", "W/") for coding in ("-gzip", "-br", "-zstd")),
    '"{}-deflate"',
    '"{}--gzip"',
    '"{};gzip"',
    'W/"{};br"',
    '"x", W/"{}-gzip"',
)
# What no proxy makes of the tag "{}".
OTHERS = ('"{}-"', '"{}gzip"', '"{}-GZIP"', '"{}-gzip-x"', '"-gzip"', '"{}.br"')


async def write(author: Client) -> tuple[str, str]:
    """Write a post; its path and the inside of its entity tag."""
    answer = await author.post("/api/posts", POST)
    assert answer.status == 201
    return answer.headers["Location"], answer.headers["ETag"].strip('"')


@pytest.mark.parametrize("form", FORMS)
async def test_writes_take_the_tag_in_the_forms_of_proxies(member: Client, form: str) -> None:
    path, tag = await write(member)
    stale = {"If-Match": form.format("9-00000000")}
    for method in ("PUT", "PATCH", "DELETE"):
        options: dict[str, Any] = {} if method == "DELETE" else {"json": {"title": method}}
        refused(await member.request(method, path, **options, headers=stale), 412)
        current = {"If-Match": form.format(tag)}
        changed = await member.request(method, path, **options, headers=current)
        assert changed.status < 300, (method, changed.body)
        tag = changed.headers.get("ETag", "").strip('"')


@pytest.mark.parametrize("form", FORMS)
async def test_reads_take_the_tag_in_the_forms_of_proxies(member: Client, form: str) -> None:
    path, tag = await write(member)
    sent = form.format(tag)
    assert (await member.get(path, headers={"If-Match": sent})).status == 200
    answer = await member.get(path, headers={"If-None-Match": sent})
    assert (answer.status, answer.headers["ETag"]) == (304, f'"{tag}"')
    refused(await member.put(path, {"title": "Second"}, headers={"If-None-Match": sent}), 412)


@pytest.mark.parametrize("form", OTHERS)
async def test_tags_that_no_proxy_writes_do_not_match(member: Client, form: str) -> None:
    path, tag = await write(member)
    sent = form.format(tag)
    refused(await member.put(path, {"title": "Second"}, headers={"If-Match": sent}), 412)
    assert (await member.get(path, headers={"If-None-Match": sent})).status == 200


async def test_if_match_takes_the_weak_tag_of_a_list(member: Client) -> None:
    tag = (await member.get("/api/posts?page=2")).headers["ETag"]
    assert tag.startswith("W/")
    for sent in (tag, tag.removeprefix("W/"), f'{tag[:-1]}-gzip"'):
        assert (await member.get("/api/posts?page=2", headers={"If-Match": sent})).status == 200


async def test_document_states_the_deviation_of_if_match(anyone: Client) -> None:
    described = (await anyone.get("/openapi.json")).json["paths"]["/api/posts/{post_id}"]
    (told,) = [each for each in described["put"]["parameters"] if each.get("name") == "If-Match"]
    for part in ('W/"…"', '"…-gzip"', "RFC 9110, §13.1.1"):
        assert part in told["description"]
