"""The suite's own check of answers against the document finds what it is there to find."""

import json
from typing import Any

import pytest

from service.testing.client import Answer
from service.web.openapi import document
from service.web.server.application import Service
from tests.support.client import Client
from tests.support.conformance import Conformance, UntrueDocument


@pytest.fixture
async def post(client: Client) -> Answer:
    """A true answer: a post that was just written."""
    author = await client.sign_up()
    return await author.post("/api/posts", {"title": "a", "content": "b"})


def check(app: Service, answer: Answer, **changes: Any) -> None:
    """Check the answer with some things changed."""
    values = {
        "method": "POST",
        "path": "/api/posts",
        "status": answer.status,
        "headers": answer.headers,
        "body": answer.body,
        "json": json.loads(answer.body),
    }
    Conformance(document(app)).check(app, **{**values, **changes})


def test_true_answer_passes_the_conformance_check(app: Service, post: Answer) -> None:
    check(app, post)


def test_undocumented_status_fails_the_conformance_check(app: Service, post: Answer) -> None:
    with pytest.raises(UntrueDocument, match="418 is not told"):
        check(app, post, status=418)
    with pytest.raises(UntrueDocument, match="418 is not told"):
        check(app, post, status=418, path="/nothing")


@pytest.mark.parametrize(
    ("member", "value", "complaint"),
    [
        ("extra", 1, "Additional properties"),
        ("title", None, "not of type 'string'"),
        ("id", "1", "is not a 'uuid'"),
        ("created_at", "yesterday", "is not a 'date-time'"),
    ],
)
def test_member_against_the_schema_fails_the_conformance_check(
    app: Service, post: Answer, member: str, value: object, complaint: str
) -> None:
    with pytest.raises(UntrueDocument, match=complaint):
        check(app, post, json={**json.loads(post.body), member: value})


def test_missing_member_fails_the_conformance_check(app: Service, post: Answer) -> None:
    with pytest.raises(UntrueDocument, match="'id' is a required property"):
        check(app, post, json={})


@pytest.mark.parametrize("name", ["Location", "X-Request-ID"])
def test_missing_header_fails_the_conformance_check(app: Service, post: Answer, name: str) -> None:
    del post.headers[name]
    with pytest.raises(UntrueDocument, match=f"{name} is missing"):
        check(app, post)


def test_undocumented_header_or_media_type_fails_the_conformance_check(
    app: Service, post: Answer
) -> None:
    post.headers["X-Secret"] = "1"
    with pytest.raises(UntrueDocument, match="X-Secret is not told"):
        check(app, post)
    del post.headers["X-Secret"]
    post.headers["Content-Type"] = "text/plain"
    with pytest.raises(UntrueDocument, match="'text/plain' is not told"):
        check(app, post)


def test_undocumented_body_fails_the_conformance_check(app: Service, post: Answer) -> None:
    path = f"/api/posts/{json.loads(post.body)['id']}"
    del post.headers["Location"]
    del post.headers["ETag"]
    with pytest.raises(UntrueDocument, match="a body that is not told"):
        check(app, post, method="DELETE", path=path, status=204)
