"""What caches may do with each answer (RFC 9111): failures, writes and private answers, nothing."""

from typing import Any

import pytest

from tests.support.client import Client

POST = {"title": "A title", "content": "Words"}
NOBODY = "00000000-0000-7000-8000-000000000000"
NO_STORE = "no-store"
REVALIDATE = "no-cache"


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "expected"),
    [
        ("GET", "/api/posts", {}, 200, REVALIDATE),
        ("GET", "/api/posts", {"headers": {"If-None-Match": "*"}}, 304, REVALIDATE),
        ("HEAD", "/api/posts", {}, 200, REVALIDATE),
        ("HEAD", "/api/posts/stream", {}, 200, REVALIDATE),
        ("GET", "/api/posts?page=0", {}, 400, NO_STORE),
        ("GET", "/api/posts?cursor=x", {}, 400, NO_STORE),
        ("GET", "/api/posts", {"headers": {"If-Match": '"x"'}}, 412, NO_STORE),
        ("GET", f"/api/posts/{NOBODY}", {}, 404, NO_STORE),
        ("HEAD", f"/api/posts/{NOBODY}", {}, 404, NO_STORE),
        ("GET", "/api/posts/1", {}, 404, NO_STORE),
        ("GET", "/nowhere", {}, 404, NO_STORE),
        ("BREW", "/api/posts", {}, 405, NO_STORE),
        ("OPTIONS", "/api/posts", {}, 200, NO_STORE),
        ("POST", "/api/posts", {"json": POST}, 201, NO_STORE),
        ("POST", "/api/posts", {"json": {"title": "other"} | POST, "token": ""}, 401, NO_STORE),
        ("POST", "/api/posts", {"data": b"x"}, 415, NO_STORE),
        ("POST", f"/api/posts/{NOBODY}/restore", {}, 404, NO_STORE),
        ("GET", "/auth/me", {}, 200, NO_STORE),
        ("GET", "/auth/me", {"token": ""}, 401, NO_STORE),
        ("GET", "/auth/nowhere", {}, 404, NO_STORE),
        ("GET", "/admin/users", {}, 403, NO_STORE),
        ("GET", "/health/live", {}, 200, NO_STORE),
        ("GET", "/health/ready", {}, 200, NO_STORE),
        ("GET", "/health/nowhere", {}, 404, NO_STORE),
        ("GET", "/metrics", {}, 200, NO_STORE),
        ("POST", "/metrics", {}, 405, NO_STORE),
        ("GET", "/docs", {}, 200, REVALIDATE),
        ("GET", "/docs/assets/none.js", {}, 404, NO_STORE),
        ("GET", "/openapi.json", {}, 200, REVALIDATE),
        ("GET", "/openapi.json", {"headers": {"If-None-Match": "x"}}, 400, NO_STORE),
        ("GET", "/.well-known/jwks.json", {}, 200, "public, max-age=300"),
        ("GET", "/verify-email", {}, 400, NO_STORE),
        ("GET", "/reset-password?token=x", {}, 200, NO_STORE),
    ],
)
async def test_answer_says_what_caches_may_do(
    member: Client, method: str, path: str, options: Any, status: int, expected: str
) -> None:
    answer = await member.request(method, path, **options)
    assert (answer.status, answer.headers.getlist("Cache-Control")) == (status, [expected])


async def test_deleted_post_is_not_cached_as_missing(member: Client, anyone: Client) -> None:
    path = (await member.post("/api/posts", POST)).headers["Location"]

    async def read() -> tuple[int, str]:
        answer = await anyone.get(path)
        return answer.status, answer.headers["Cache-Control"]

    assert await read() == (200, REVALIDATE)
    changed = await member.put(path, {"title": "Another"})
    deleted = await member.delete(path)
    assert await read() == (404, NO_STORE)
    restored = await member.post(f"{path}/restore")
    assert await read() == (200, REVALIDATE)
    headers = {"Idempotency-Key": "cached"}
    replayed = [await member.post("/api/posts", POST, headers=headers) for _ in range(2)][-1]
    assert replayed.headers["Idempotency-Replayed"] == "true"
    for answer in (changed, deleted, restored, replayed):
        assert answer.headers["Cache-Control"] == NO_STORE
