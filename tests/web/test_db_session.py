"""One session per request: finished once, before the answer is sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import cast

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from service.app import create_app
from service.errors import BadRequest, Unauthorized
from service.settings import Settings
from service.testing.server import serving
from service.web.db_session import db_session, release
from service.web.server.application import Service
from tests.support.client import Client, refused
from tests.support.polling import until
from tests.support.round_trips import Trips
from tests.support.server import connected, head


class Kept(Unauthorized):
    """An error whose request keeps what it wrote."""

    keeps_changes = True


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Short waits."""
    update = {
        "database_pool_size": 3,
        "database_pool_timeout": 0.5,
        "database_statement_timeout": 0.2,
    }
    return settings.model_copy(update=update)


async def write(number: int) -> None:
    await db_session().execute(text("INSERT INTO notes VALUES (:number)"), {"number": number})


def add_routes(app: Service) -> None:
    """Routes that write, then end in every way."""

    @app.route("/write/<int:number>", methods=["GET", "POST"])
    async def writing(number: int) -> str:
        await write(number)
        return "written"

    @app.post("/answer/<int:status>")
    async def answering(status: int) -> tuple[str, int]:
        await write(status)
        return "", status

    @app.post("/raise/<kind>")
    async def raising(kind: str) -> str:
        await write(1)
        errors = {"bad": BadRequest, "kept": Kept, "bug": RuntimeError}
        raise errors[kind]

    @app.post("/release")
    async def releasing() -> str:
        await write(1)
        await release()
        await write(2)
        return ""

    @app.route("/sleep", methods=["GET", "POST"])
    async def sleeping() -> str:
        if app.config.get("WRITE_FIRST"):
            await write(1)
        await db_session().execute(text("SELECT pg_sleep(5)"))
        return ""

    @app.post("/wait")
    async def waiting() -> str:
        await write(1)
        await app.config["GATE"].wait()
        return ""


@pytest.fixture
async def app(settings: Settings, db: "asyncpg.Connection") -> AsyncIterator[Service]:
    """The application with routes that write notes."""
    await db.execute("CREATE TABLE notes (number integer UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    application = create_app(settings)
    add_routes(application)
    async with application.test_app():
        yield application


async def notes(db: "asyncpg.Connection") -> list[int]:
    return [row["number"] for row in await db.fetch("SELECT number FROM notes ORDER BY 1")]


def held(app: Service) -> int:
    """How many connections are out of the pool."""
    return app.database.usage().in_use


async def test_success_commits_before_the_answer(client: Client, db: "asyncpg.Connection") -> None:
    for number in range(5):
        assert (await client.post(f"/write/{number}")).status == 200
        assert number in await notes(db)


@pytest.mark.parametrize(("status", "kept"), [(200, True), (304, True), (400, False), (503, False)])
async def test_status_of_the_answer_decides_on_the_commit(
    client: Client, db: "asyncpg.Connection", status: int, kept: bool
) -> None:
    assert (await client.post(f"/answer/{status}")).status == status
    assert (await notes(db) == [status]) is kept


@pytest.mark.parametrize(
    ("kind", "status", "kept"), [("bad", 400, []), ("bug", 500, []), ("kept", 401, [1])]
)
async def test_kind_of_the_error_decides_on_the_commit(
    app: Service, client: Client, db: "asyncpg.Connection", kind: str, status: int, kept: list[int]
) -> None:
    refused(await client.post(f"/raise/{kind}"), status)
    assert await notes(db) == kept
    assert held(app) == 0


async def test_work_before_a_release_is_lost_and_later_work_is_kept(
    client: Client, db: "asyncpg.Connection"
) -> None:
    await client.post("/release")
    assert await notes(db) == [2]


async def test_failing_commit_answers_no_success(
    app: Service, client: Client, db: "asyncpg.Connection"
) -> None:
    await client.post("/write/1")
    refused(await client.post("/write/1"), 500)
    assert await notes(db) == [1]
    assert held(app) == 0


async def test_connection_lost_before_the_commit_answers_no_success(
    app: Service, client: Client, db: "asyncpg.Connection"
) -> None:
    app.config["GATE"] = asyncio.Event()
    waiting = asyncio.create_task(client.post("/wait"))
    await until(lambda: _end_sessions(db, "idle in transaction"))
    app.config["GATE"].set()
    answer = await waiting
    refused(answer, 503)
    assert "Retry-After" in answer.headers
    assert await notes(db) == []
    assert held(app) == 0


async def _end_sessions(db: "asyncpg.Connection", state: str) -> bool:
    return bool(
        await db.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = $1",
            state,
        )
    )


async def test_service_recovers_from_lost_connections(
    client: Client, db: "asyncpg.Connection"
) -> None:
    await asyncio.gather(*(client.get("/api/posts") for _ in range(5)))
    assert await _end_sessions(db, "idle")
    for _ in range(4):
        answer = await client.get("/api/posts")
        assert answer.status in {200, 503}
        assert answer.status == 200 or "Retry-After" in answer.headers
    assert (await client.get("/api/posts")).status == 200


async def test_requests_survive_connections_lost_at_any_moment(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await client.sign_up()
    done = asyncio.Event()
    written = 0

    async def ask() -> None:
        nonlocal written
        while not done.is_set():
            answer = await one.post("/api/posts", json={"title": "t", "content": "c"})
            assert answer.status in {201, 503}
            written += answer.status == 201
            assert (await one.get("/auth/me")).status in {200, 503}

    async def more_than(before: int) -> bool:
        return written > before

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(ask())
        for number in range(50):
            await _end_sessions(db, ("active", "idle", "idle in transaction")[number % 3])
        before = written
        await until(lambda: more_than(before))
        done.set()
    assert written <= await db.fetchval("SELECT count(*) FROM posts")


@pytest.mark.parametrize("path", ["/api/posts", "/auth/me"])
async def test_exhausted_pool_is_503(app: Service, client: Client, path: str) -> None:
    caller = await client.sign_up()
    engine = app.database.engine
    async with engine.connect(), engine.connect(), engine.connect():
        answer = await caller.get(path)
        refused(answer, 503, "The service is busy")
        assert int(answer.headers["Retry-After"]) > 0
        assert (await client.get("/health/live")).status == 200
    assert (await caller.get(path)).status == 200


async def test_unreachable_database_is_503(
    app: Service, client: Client, settings: Settings
) -> None:
    gone = settings.model_copy(update={"database_url": type(settings.secret_key)(NOWHERE)})
    application = create_app(gone)
    async with application.test_app():
        other = Client(application)
        for answer in (await other.get("/api/posts"), await other.login("a@example.com")):
            refused(answer, 503, "The database is unavailable")
            assert "Retry-After" in answer.headers


SLEEPING = """
    SELECT count(*) = 3 FROM pg_stat_activity WHERE datname = current_database()
    AND state = 'active' AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()
"""
NOWHERE = "postgresql://nobody:hunter2@127.0.0.1:1/nowhere"


async def test_statement_over_its_time_is_503(client: Client) -> None:
    for answer in (await client.get("/sleep"), await client.post("/sleep")):
        refused(answer, 503, "The database is unavailable")
        assert "Retry-After" in answer.headers


async def test_waiting_for_a_lock_is_bounded(client: Client, db: "asyncpg.Connection") -> None:
    async with db.transaction():
        await db.execute("LOCK TABLE posts")
        refused(await client.get("/api/posts"), 503)
    assert (await client.get("/api/posts")).status == 200


async def test_reads_open_no_transaction(client: Client, trips: Trips) -> None:
    assert await trips.during(client.get("/api/posts")) == ["SELECT"]


@pytest.mark.parametrize("path", ["/health/live", "/nowhere", "/openapi.json"])
async def test_route_without_tables_takes_no_connection(
    app: Service, client: Client, path: str
) -> None:
    await client.get(path)
    assert cast(QueuePool, app.database.engine.pool).checkedin() == 0


async def test_abandoned_requests_leave_no_connection_in_use(
    settings: Settings, db: "asyncpg.Connection"
) -> None:
    """50 clients go away while their statement runs; other requests never notice."""
    await db.execute("CREATE TABLE notes (number integer)")
    patient = settings.model_copy(
        update={"database_statement_timeout": 20.0, "database_pool_timeout": 20.0}
    )
    application = create_app(patient)
    add_routes(application)
    application.config["WRITE_FIRST"] = True
    async with serving(application) as port:
        for _ in range(5):
            await abort(port, db)
        await until(lambda: all_returned(application))
        assert (await Client(application).get("/api/posts")).status == 200
        assert await notes(db) == []
        assert not await _end_sessions(db, "idle in transaction")


async def abort(port: int, db: "asyncpg.Connection") -> None:
    """Go away with ten connections while the pool's three sleep and seven wait for one."""
    async with AsyncExitStack() as connections:
        for _ in range(10):
            _, writer = await connections.enter_async_context(connected(port))
            writer.write(head("POST", "/sleep"))
        await until(lambda: db.fetchval(SLEEPING))


async def all_returned(app: Service) -> bool:
    """Whether every connection is back in the pool."""
    return bool(held(app) == 0)
