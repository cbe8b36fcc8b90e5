"""Bodies: JSON objects in UTF-8 of a bounded size, and nothing else."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.testing.client import PASSWORD, Answer
from tests.support.client import Client, faults, refused

LIMIT = 2_097_152
NEW = {"title": "A title", "content": "Some content"}


async def send(
    client: Client, body: bytes, content_type: str | None = "application/json"
) -> Answer:
    """Send a body as it is where a post is expected."""
    headers = {"Content-Type": content_type} if content_type is not None else {}
    return await client.request("POST", "/api/posts", data=body, headers=headers)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "APPLICATION/JSON",
    ],
)
async def test_json_media_types_are_read(member: Client, content_type: str) -> None:
    assert (await send(member, json.dumps(NEW).encode(), content_type)).status == 201


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/jsonp",
        "application/problem+json",
        "json",
        ";",
    ],
)
async def test_body_of_another_media_type_is_415(member: Client, content_type: str | None) -> None:
    answer = await send(member, json.dumps(NEW).encode(), content_type)
    refused(answer, 415, "Send the body as application/json")
    assert "Accept-Encoding" not in answer.headers


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate", "gzip, br", "x", "GZIP"])
async def test_body_with_a_content_coding_is_415_and_says_what_is_taken(
    member: Client, coding: str
) -> None:
    body = gzip.compress(json.dumps(NEW).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    answer = await member.request("POST", "/api/posts", data=body, headers=headers)
    refused(answer, 415, "Send the body without a content coding")
    assert answer.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
async def test_body_in_the_identity_coding_is_read(member: Client, coding: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    answer = await member.request(
        "POST", "/api/posts", data=json.dumps(NEW).encode(), headers=headers
    )
    assert answer.status == 201


@pytest.mark.parametrize(
    "body",
    {
        "empty": b"",
        "blank": b" \n",
        "cut off": b'{"title": "a"',
        "single quotes": b"{'title': 'a'}",
        "trailing comma": b'{"title": "a",}',
        "two values": b"{}{}",
        "bad UTF-8": b'{"title": "\xff", "content": "b"}',
        "overlong UTF-8": b'{"title": "\xc0\x80", "content": "b"}',
        "surrogate in UTF-8": b'{"title": "\xed\xa0\x80", "content": "b"}',
        "latin-1": '{"title": "é", "content": "b"}'.encode("latin-1"),
        "UTF-16": json.dumps(NEW).encode("utf-16"),
        "UTF-32": json.dumps(NEW).encode("utf-32"),
        "byte order mark": b"\xef\xbb\xbf" + json.dumps(NEW).encode(),
        "NUL": b"\0",
        "raw NUL in text": b'{"title": "a\0b", "content": "b"}',
        "raw newline in text": b'{"title": "a\nb", "content": "b"}',
        "deep lists": b"[" * 100_000,
        "deep lists, closed": b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        "NaN": b'{"title": "a", "content": "b", "x": NaN}',
        "Infinity": b'{"title": "a", "content": "b", "x": -Infinity}',
        "integer of 5,000 digits": b'{"title": "a", "content": "b", "x": ' + b"9" * 5_000 + b"}",
    }.items(),
    ids=lambda item: item[0],
)
async def test_malformed_json_is_400(member: Client, body: tuple[str, bytes]) -> None:
    refused(await send(member, body[1]), 400, "The body is not valid JSON")


@pytest.mark.parametrize("body", [b"[]", b'[{"title": "a"}]', b'"text"', b"1", b"null", b"true"])
async def test_json_that_is_no_object_is_400(member: Client, body: bytes) -> None:
    refused(await send(member, body), 400, "The body must be a JSON object")


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" * 400, "0.1", "1e-400"])
async def test_number_out_of_range_is_refused_by_name(member: Client, number: str) -> None:
    body = f'{{"title": {number}, "content": "b"}}'.encode()
    assert faults(await send(member, body)) == {"title"}


async def test_last_of_two_members_of_a_name_wins(member: Client) -> None:
    answer = await send(member, b'{"title": "a", "title": "b", "content": "c"}')
    assert answer.json["title"] == "b"


@pytest.mark.parametrize("escape", [r"\ud83e\udd8a", "🦊"])
async def test_escaped_surrogate_pair_is_one_character(member: Client, escape: str) -> None:
    body = f'{{"title": "{escape}", "content": "b"}}'.encode()
    assert (await send(member, body)).json["title"] == "🦊"


async def test_lone_surrogate_in_an_unknown_member_is_ignored(member: Client) -> None:
    body = rb'{"title": "a", "content": "b", "\ud800": "\udfff\u0000"}'
    assert (await send(member, body)).status == 201


async def test_body_of_exactly_the_limit_is_read(member: Client) -> None:
    body = json.dumps({**NEW, "x": ""}).encode()
    body = body.replace(b'"x": ""', b'"x": "' + b"y" * (LIMIT - len(body)) + b'"')
    assert len(body) == LIMIT
    assert (await send(member, body)).status == 201
    refused(await send(member, body + b" "), 413, "The body is too large")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_routes_that_take_no_body_ignore_one(anyone: Client, method: str) -> None:
    answer = await anyone.request(method, "/health/live", data=b"\xff")
    assert answer.status == (200 if method == "GET" else 405)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
texts = values | st.text(st.characters(), max_size=20)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "title": texts,
        "content": texts,
        "email": texts | st.emails(),
        "password": texts | st.just(PASSWORD),
        "username": texts,
    },
)
ROUTES = [
    ("POST", "/auth/register"),
    ("POST", "/auth/login"),
    ("POST", "/auth/refresh"),
    ("POST", "/api/posts"),
    ("PUT", "/api/posts/01900000-0000-7000-8000-000000000000"),
    ("DELETE", "/api/posts/01900000-0000-7000-8000-000000000000"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@settings(max_examples=40, deadline=None)
@given(body=BODIES | values)
async def test_arbitrary_json_never_causes_a_500(
    member: Client, method: str, path: str, body: Any
) -> None:
    answer = await member.request(method, path, json=body)
    if answer.status >= 300:
        assert answer.status < 500, answer.body
        refused(answer, answer.status)
    assert answer.headers["X-Request-ID"]


@settings(max_examples=80, deadline=None)
@given(body=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
async def test_arbitrary_bytes_never_cause_a_500(member: Client, body: bytes) -> None:
    refused(await send(member, body), 400)


@settings(max_examples=60, deadline=None)
@given(
    title=st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=60)
)
async def test_every_text_is_returned_as_it_was_sent(member: Client, title: str) -> None:
    answer = await member.post("/api/posts", {"title": title, "content": "x"})
    if title.strip():
        assert answer.json["title"] == title
    else:
        assert faults(answer) == {"title"}
