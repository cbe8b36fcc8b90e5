"""One shape for every failure; a 500 says nothing of the inside, the log says all."""

from collections.abc import AsyncIterator, Callable

import pytest
from quart import Quart, abort, request
from sqlalchemy.exc import DBAPIError, OperationalError
from structlog.testing import capture_logs
from werkzeug.exceptions import ImATeapot, RequestTimeout

from service.app import create_app
from service.errors import Unavailable
from service.observability import context
from service.settings import Settings
from service.web.server.application import Service
from tests.support.client import Client, refused

INSIDE = "the inside: password=hunter2"


def fail() -> None:
    raise RuntimeError(INSIDE)


def fail_in_the_database() -> None:
    raise OperationalError("SELECT secret", {}, Exception(INSIDE))


def fail_in_a_statement() -> None:
    raise DBAPIError("SELECT secret", {}, Exception(INSIDE))


FAILURES: dict[str, Callable[[], object]] = {
    "error": fail,
    "operational": fail_in_the_database,
    "statement": fail_in_a_statement,
    "abort": lambda: abort(500),
    "teapot": lambda: (_ for _ in ()).throw(ImATeapot(INSIDE)),
    "timeout": lambda: (_ for _ in ()).throw(RequestTimeout(INSIDE)),
    "unavailable": lambda: (_ for _ in ()).throw(Unavailable(retry_after=7)),
}


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[Service]:
    """The application with routes that fail."""
    application = create_app(settings)

    @application.route("/fail/<kind>")
    async def failing(kind: str) -> str:
        FAILURES[kind]()
        return ""

    @application.route("/fail-late")
    async def failing_late() -> str:
        return ""

    @application.after_request
    async def break_answer(response: object) -> object:
        if request.path == "/fail-late" and not broken:
            broken.append(True)
            fail()
        return response

    broken: list[bool] = []
    async with application.test_app():
        yield application


@pytest.mark.parametrize(
    "path", ["/fail/error", "/fail/operational", "/fail/statement", "/fail-late"]
)
async def test_unexpected_failure_says_nothing_of_the_inside(client: Client, path: str) -> None:
    answer = await client.get(path)
    refused(answer, 500, "Something went wrong on our side")
    assert b"hunter2" not in answer.body


@pytest.mark.parametrize("kind", ["error", "operational", "statement"])
async def test_failure_is_logged_under_the_answer_s_request_id(client: Client, kind: str) -> None:
    with capture_logs(processors=[context.merge_context]) as logged:
        answer = await client.get(f"/fail/{kind}")
    (entry,) = [each for each in logged if each["log_level"] == "error"]
    assert INSIDE in str(entry["exc_info"])
    assert entry["request_id"] == answer.json["request_id"]


@pytest.mark.parametrize(
    ("kind", "status"), [("abort", 500), ("teapot", 418), ("timeout", 408), ("unavailable", 503)]
)
async def test_library_errors_have_the_one_error_shape(
    client: Client, kind: str, status: int
) -> None:
    answer = await client.get(f"/fail/{kind}")
    refused(answer, status)
    assert b"hunter2" not in answer.body


async def test_unavailable_says_when_to_come_back(client: Client) -> None:
    assert (await client.get("/fail/unavailable")).headers["Retry-After"] == "7"


@pytest.mark.parametrize(
    "path",
    ["/", "/nowhere", "/api", "/api/posts/1", "/auth", "//api//posts", "/api/posts//", "/%00"],
)
async def test_unknown_path_is_404_in_the_one_error_shape(anyone: Client, path: str) -> None:
    refused(await anyone.get(path), 404, "Not found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/auth/login", {"OPTIONS", "POST"}),
        ("PUT", "/health/live", {"GET", "HEAD", "OPTIONS"}),
        ("TRACE", "/auth/register", {"OPTIONS", "POST"}),
        ("BREW", "/auth/login", {"OPTIONS", "POST"}),
    ],
)
async def test_method_that_is_not_allowed_is_405(
    anyone: Client, method: str, path: str, allowed: set[str]
) -> None:
    answer = await anyone.request(method, path)
    refused(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/api/posts", "/health/live", "/auth/login"])
async def test_options_lists_the_methods(anyone: Client, path: str) -> None:
    answer = await anyone.request("OPTIONS", path)
    assert (answer.status, answer.body) == (200, b"")
    assert "OPTIONS" in answer.headers["Allow"]


def test_error_handlers_are_not_bypassed(app: Quart) -> None:
    """With TESTING on, Quart would raise instead of answering, and these tests would prove less."""
    assert not app.testing
