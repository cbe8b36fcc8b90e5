"""One log line per request, as a real server writes it."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.testing.client import PASSWORD
from service.testing.database import Databases
from tests.support.polling import until
from tests.support.processes import Connection, ServiceProcess, service_process
from tests.support.server import exchange, head

POST = "/api/posts/01989f2e-8f4b-7c57-9d3c-2b6f0a4c8e11"
ALWAYS = {"event", "level", "logger", "timestamp", "request_id", "client_ip"} | {
    "method", "route", "status", "duration_ms",
}  # fmt: skip


class Log:
    """What the service wrote; every line is one JSON object."""

    def __init__(self, service: ServiceProcess) -> None:
        self._service = service
        self.port = service.port

    @property
    def text(self) -> str:
        """Whole lines only: of one that goes over a file's page a reader may see the first part."""
        whole, end, _ = self._service.log.read_text().rpartition("\n")
        return whole + end

    def lines(self, **values: object) -> list[dict[str, Any]]:
        """The lines that hold these values."""
        lines = [json.loads(line) for line in self.text.splitlines()]
        assert all(isinstance(line, dict) for line in lines)
        return [line for line in lines if values.items() <= line.items()]

    async def line(self, **values: object) -> dict[str, Any]:
        """The one line with these values, as soon as it is there."""

        async def written() -> bool:
            return bool(self.lines(event="request", **values))

        await until(written)
        (found,) = self.lines(event="request", **values)
        return found


@asynccontextmanager
async def logging_service(database_url: str, folder: Path) -> AsyncIterator[Log]:
    """A running service and its log."""
    async with service_process(
        database_url, folder, log_format="json", log_level="DEBUG", trusted_proxies=1
    ) as service:
        service.may_fail = True
        yield Log(service)


@pytest.fixture(scope="session")
async def log(
    service_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Log]:
    """The log of one service for the tests that look for their own lines."""
    folder = tmp_path_factory.mktemp("logging")
    with service_databases.database() as database:
        async with logging_service(database.url, folder) as shared:
            yield shared


@pytest.fixture
async def own_log(database_url: str, tmp_path: Path) -> AsyncIterator[Log]:
    """The log of a service whose database the test breaks."""
    async with logging_service(database_url, tmp_path) as own:
        yield own


async def send(log: Log, method: str, path: str, *lines: str, request_id: str) -> int:
    answer = await exchange(log.port, head(method, path, f"X-Request-ID: {request_id}", *lines))
    return answer.status


async def test_request_s_line_has_the_documented_members_alone(log: Log) -> None:
    await send(log, "GET", f"{POST}?secret=1", "X-Forwarded-For: 192.0.2.7", request_id="one")
    line = await log.line(request_id="one")
    assert line.keys() == ALWAYS
    assert (line["method"], line["route"]) == ("GET", "/api/posts/<id:post_id>")
    assert (line["status"], line["client_ip"], line["level"]) == (404, "192.0.2.7", "info")
    assert 0 < line["duration_ms"] < 30_000


async def test_request_s_line_names_the_caller_and_the_next_does_not(log: Log) -> None:
    async with Connection(log.port) as connection:
        await connection.sign_up("lovelace")
        user = (await connection.request("GET", "/auth/me")).json["id"]
        connection.token = ""
        await connection.request("GET", "/auth/me")
    await log.line(route="/auth/me", status=401)
    assert (await log.line(route="/auth/me", status=200))["user_id"] == user
    assert "user_id" not in await log.line(route="/auth/me", status=401)
    logins = log.lines(event="request", route="/auth/login")
    assert logins
    assert all("user_id" not in line for line in logins)


async def test_routine_requests_are_logged_at_debug_level_alone(log: Log) -> None:
    for path in ("/health/live", "/health/ready", "/metrics"):
        await send(log, "GET", path, request_id=path.replace("/", "-"))
        assert (await log.line(request_id=path.replace("/", "-")))["level"] == "debug"


FORGERIES = [
    ("GET", '/api/posts/"}{"event":"forged"}'),
    ("GET", "/%0a%7b%22event%22:%22forged%22%7d"),
    ("GET", "/api/posts?q=%0a%22forged"),
    ('X"forged', "/forged"),  # the server itself refuses it
    ("FORGED" * 100, "/forged"),
]


async def test_client_cannot_forge_log_lines(log: Log) -> None:
    hostile = ['User-Agent: x" forged \t {"a": 1}', "Referer: forged", "X-Forwarded-For: forged"]
    for number, (method, path) in enumerate(FORGERIES):
        name = f"hostile-{number}"
        await send(log, method, path, *hostile, "Cookie: forged=1", request_id=name)
        if '"' in method:
            continue
        line = await log.line(request_id=name)
        assert line.keys() == ALWAYS, path
        assert line["method"] in {"GET", "other"}
    assert "forged" not in log.text.lower()


async def test_aborted_requests_are_logged(log: Log) -> None:
    async with Connection(log.port) as connection:
        await connection.sign_up("ada")
        await connection.send_part("POST", "/api/posts", 100)
    line = await log.line(route="/api/posts", status=499)
    assert line["aborted"]


async def test_concurrent_requests_are_logged_under_their_own_ids(log: Log) -> None:
    names = [f"id-{number}" for number in range(40)]
    await asyncio.gather(*(send(log, "GET", POST, request_id=name) for name in names))
    lines = await asyncio.gather(*(log.line(request_id=name) for name in names))
    assert {line["status"] for line in lines} == {404}


async def test_failures_are_logged_under_their_request_id(
    own_log: Log, db: "asyncpg.Connection"
) -> None:
    await db.execute("ALTER TABLE posts RENAME COLUMN title TO other")
    assert await send(own_log, "GET", POST, request_id="broken") == 500
    await own_log.line(request_id="broken", status=500)
    (failure,) = own_log.lines(request_id="broken", level="error")
    assert "UndefinedColumnError" in failure["exception"]
    assert failure["client_ip"] == "127.0.0.1"


async def test_log_has_no_secrets(own_log: Log, db: "asyncpg.Connection") -> None:
    secrets = [PASSWORD, "wrong-secret", "query-secret", "cookie-secret", "title-secret"]
    account = {"email": "ada@example.com", "password": PASSWORD}
    async with Connection(own_log.port) as ada:
        await ada.request("POST", "/auth/register", account)
        await ada.request("POST", "/auth/register", account)  # taken
        tokens = (await ada.request("POST", "/auth/login", account)).json
        await ada.request("POST", "/auth/login", account | {"password": "wrong-secret"})
        await ada.request("POST", "/auth/login", {"email": 1, "password": ["wrong-secret"]})
        ada.token = tokens["refresh_token"]
        secrets += [tokens["access_token"], tokens["refresh_token"]]
        await ada.request("GET", "/auth/me")  # of the wrong kind
        spent = await ada.request("POST", "/auth/refresh")
        secrets += [spent.json["access_token"], spent.json["refresh_token"]]
        ada.token = spent.json["access_token"]
        await ada.request("POST", "/api/posts", {"title": "title-secret", "content": "."})
        await ada.request("POST", "/api/posts", {"title": "title-secret" * 99, "content": "."})
        await ada.request("GET", "/api/posts?token=query-secret")
        # Errors of the database quote statements and values.
        await db.execute("ALTER TABLE users ADD COLUMN required int CHECK (required > 0)")
        await db.execute("ALTER TABLE users ALTER required SET DEFAULT 0")
        eve = account | {"email": "eve@example.com"}
        assert (await ada.request("POST", "/auth/register", eve)).status == 500
        assert "Failing row contains" not in own_log.text
        await db.execute("ALTER TABLE users RENAME COLUMN password_hash TO other")
        await db.execute("ALTER TABLE posts RENAME COLUMN title TO other")
        for method, path, body in (
            ("POST", "/auth/register", eve),
            ("POST", "/auth/login", account),
            ("POST", "/api/posts", {"title": "title-secret", "content": "."}),
        ):
            assert (await ada.request(method, path, body)).status == 500
    await send(own_log, "GET", "/auth/me", "Authorization: Bearer wrong-secret", request_id="bad")
    await send(own_log, "GET", "/auth/me", "Authorization: Basic wrong-secret", request_id="basic")
    await send(own_log, "GET", POST, "Cookie: access_token=cookie-secret", request_id="last")
    await own_log.line(request_id="last")
    assert len(own_log.lines(level="error")) == 5
    parts = [part for secret in secrets for part in secret.split(".") if len(part) > 5]
    assert [part for part in parts if part in own_log.text] == []
    assert "argon2id$" not in own_log.text


async def test_each_request_has_one_log_line(log: Log) -> None:
    for number in range(25):
        await send(log, "GET", "/api/posts", request_id=f"read-{number}")
        await send(log, "DELETE", "/api/posts", request_id=f"delete-{number}")
    await send(log, "GET", POST, request_id="end")
    await log.line(request_id="end")
    lines = log.lines(event="request")
    counted = Counter(
        (line["request_id"], line["status"])
        for line in lines
        if line["request_id"].startswith(("read-", "delete-"))
    )
    assert counted == dict.fromkeys(
        [(f"read-{n}", 200) for n in range(25)] + [(f"delete-{n}", 405) for n in range(25)], 1
    )
