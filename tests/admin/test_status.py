"""What operators see of the state of the service."""

import platform
from importlib.metadata import version
from typing import Any

import asyncpg
import pytest

from service.admin.status import NOT_CHECKED
from service.db.schema_version import head_revision
from service.settings import Settings
from service.testing.application import running
from tests.support.client import Client, refused

CHECKS = [
    "shutdown", "database", "writes", "encoding", "search path", "schema", "cluster",
    "encryption keys",
]  # fmt: skip
HEAD = head_revision()


@pytest.fixture
async def operator(client: Client) -> Client:
    return await client.as_admin()


async def status(operator: Client) -> dict[str, Any]:
    answer = await operator.get("/admin/status")
    assert answer.status == 200, answer.body
    assert answer.headers["Cache-Control"] == "no-store"
    shown: dict[str, Any] = answer.json
    return shown


def problems(shown: dict[str, Any]) -> dict[str, str]:
    """The checks that failed, and why; those that were not made are left out."""
    assert [check["name"] for check in shown["checks"]] == CHECKS
    assert all(check["ok"] is (check["problem"] is None) for check in shown["checks"])
    assert shown["ready"] is all(check["ok"] for check in shown["checks"])
    failed = {check["name"]: check["problem"] for check in shown["checks"] if not check["ok"]}
    return {name: problem for name, problem in failed.items() if problem != NOT_CHECKED}


async def test_ready_service_shows_its_checks_versions_and_queues(
    operator: Client, settings: Settings, db: asyncpg.Connection
) -> None:
    await db.execute("UPDATE pgqueuer SET status = 'failed'")
    shown = await status(operator)
    assert problems(shown) == {}
    assert shown["ready"] is True
    assert (shown["version"], shown["python"]) == (version("service"), platform.python_version())
    assert shown["schema"] == {"code": HEAD, "database": HEAD}
    assert shown["postgres"] == await db.fetchval("SHOW server_version")
    assert shown["started_at"].endswith("Z")
    assert shown["pool"] == {"size": settings.database_pool_size, "in_use": 0, "waiting": 0}
    assert shown["hashing"] == {"pending": 0}
    assert shown["streams"] == {"open": 0}
    assert shown["jobs"] == {"queued": 0, "picked": 0, "failed": 1}
    assert shown["replica"] is None


async def test_status_shows_the_streams_and_the_connections_in_use(operator: Client) -> None:
    held = operator.app.database.session()
    await held.connection()
    stream = operator.app.test_client().request("/api/posts/stream", method="GET")
    async with stream:
        await stream.send_complete()
        await stream.receive()
        shown = await status(operator)
        await stream.disconnect()
    await held.close()
    assert shown["streams"] == {"open": 1}
    assert shown["pool"]["in_use"] == 1


async def test_service_that_shuts_down_is_shown_as_not_ready(operator: Client) -> None:
    operator.app.shutdown_state.begin()
    shown = await status(operator)
    assert problems(shown) == {"shutdown": "the service is shutting down"}
    assert shown["schema"]["database"] == HEAD


async def test_unknown_schema_is_shown_as_not_ready_with_its_revision(
    operator: Client, db: asyncpg.Connection
) -> None:
    await db.execute("UPDATE alembic_version SET version_num = 'other'")
    shown = await status(operator)
    assert problems(shown).keys() == {"schema"}
    assert "other" in problems(shown)["schema"]
    assert shown["schema"] == {"code": HEAD, "database": "other"}
    assert [check["problem"] for check in shown["checks"][-2:]] == [NOT_CHECKED] * 2
    message = refused(await operator.get("/health/ready"), 503)["message"]
    assert message == f"Not ready: {problems(shown)['schema']}"


async def test_status_does_not_wait_for_a_database_that_is_silent_to_its_checks(
    operator: Client, db: asyncpg.Connection
) -> None:
    async with db.transaction():
        await db.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        shown = await status(operator)
    assert problems(shown) == {"database": "the database does not answer"}
    assert shown["schema"] == {"code": HEAD, "database": None}
    assert (shown["postgres"], shown["jobs"]) == (None, None)


async def test_ready_service_whose_queue_is_silent_is_shown_as_ready_without_its_jobs(
    operator: Client, db: asyncpg.Connection
) -> None:
    async with db.transaction():
        await db.execute("LOCK TABLE pgqueuer IN ACCESS EXCLUSIVE MODE")
        shown = await status(operator)
        ready = await operator.get("/health/ready")
    assert (problems(shown), shown["ready"], ready.status) == ({}, True, 200)
    assert shown["schema"] == {"code": HEAD, "database": HEAD}
    assert shown["postgres"] == await db.fetchval("SHOW server_version")
    assert shown["jobs"] is None


async def test_replica_that_cannot_be_read_has_no_lag(
    operator: Client, settings: Settings, database_url: str
) -> None:
    replicated = settings.model_copy(
        update={"database_replica_url": settings.database_url or database_url}
    )
    async with running(replicated) as app:
        shown = await status(Client(app, operator.token))
    assert shown["replica"] == {"lag_seconds": None}
