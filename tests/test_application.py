"""What holds for every route, whichever it is."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from werkzeug.routing import Rule

from service.app import create_app
from service.testing.application import make_settings
from service.testing.client import Answer
from tests.support.client import Client, refused

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
JUNK = (b"", b"\xff", b"[]", b"{}", b'{"title": 1}', b"[" * 10_000)
# What is a page for people, not an answer of the API.
PAGES = {
    "/openapi.json", "/docs", "/console", "/verify-email", "/reset-password",
    "/auth/external/<provider>/callback",
}  # fmt: skip


def rules() -> list[Rule]:
    """Every route of the application, read from the application itself."""
    app = create_app(make_settings(database_url="postgresql://localhost/nowhere"))
    return sorted(
        app.url_map.iter_rules(), key=lambda rule: (rule.rule, sorted(rule.methods or ()))
    )


RULES = rules()
PATHS = sorted({rule.rule for rule in RULES} - PAGES)


def path_of(rule: str) -> str:
    """A path that the rule matches and that leads to nothing."""
    rule = re.sub(r"<number:\w+>", "1", rule)
    return re.sub(r"<id:\w+>", lambda _: str(uuid4()), rule)


def allowed(path: str) -> set[str]:
    return {method for rule in RULES if rule.rule == path for method in rule.methods or ()}


# The stream has no end that could be waited for.
OPERATIONS = [
    (method, path)
    for path in PATHS
    if path != "/api/posts/stream"
    for method in METHODS
    if method in allowed(path)
]


def assert_well_answered(answer: Answer, method: str) -> None:
    assert answer.headers["X-Request-ID"]
    assert answer.status < 500, answer.body
    if answer.status >= 400 and method != "HEAD":
        refused(answer, answer.status)


def junk(method: str) -> Iterator[dict[str, Any]]:
    for body in JUNK if method not in {"GET", "HEAD"} else (b"",):
        for kind in ("application/json", "text/plain"):
            yield {"data": body, "headers": {"Content-Type": kind}}


def test_application_has_paths_to_test() -> None:
    assert {"/api/posts", "/auth/login", "/health/live"} <= set(PATHS)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_junk_is_refused_in_the_one_error_shape(
    member: Client, method: str, path: str
) -> None:
    # A client of its own: /auth/logout and the like must not end the shared one's session.
    someone = await Client(member.app).sign_up()
    for options in junk(method):
        for token in ("", "junk", someone.token):
            answer = await member.request(method, path_of(path), token=token, **options)
            assert_well_answered(answer, method)


@pytest.mark.parametrize("path", PATHS)
async def test_methods_that_a_path_does_not_have_are_405(anyone: Client, path: str) -> None:
    for method in {*METHODS, "BREW"} - allowed(path):
        answer = await anyone.request(method, path_of(path))
        assert answer.status == 405
        assert set(answer.headers["Allow"].split(", ")) == allowed(path)
        assert method == "HEAD" or refused(answer, 405)


@pytest.mark.parametrize("path", PATHS)
def test_head_is_allowed_where_get_is(path: str) -> None:
    assert ("HEAD" in allowed(path)) is ("GET" in allowed(path))
    assert "OPTIONS" in allowed(path)


@pytest.mark.parametrize("path", PATHS)
async def test_path_with_a_longer_tail_is_404(anyone: Client, path: str) -> None:
    refused(await anyone.get(f"{path_of(path)}/no/such/thing"), 404)
