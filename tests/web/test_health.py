"""Liveness and readiness."""

import asyncio
from pathlib import Path
from time import monotonic

import asyncpg
import pytest

from service.db import migrations
from service.testing.application import make_settings, running
from service.testing.database import Databases
from service.web.server.application import Service
from tests.support.client import Client, refused

NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
async def test_health_routes_answer_200_on_a_migrated_database(anyone: Client, path: str) -> None:
    answer = await anyone.get(path)
    assert (answer.status, answer.json) == (200, {"status": "ok"})


async def test_service_is_ready_only_once_migrated(empty_url: str, tmp_path: Path) -> None:
    async with running(make_settings(database_url=empty_url, data_dir=tmp_path)) as app:
        client = Client(app)
        answer = await client.get("/health/ready")
        assert "service migrate" in refused(answer, 503)["message"]
        assert int(answer.headers["Retry-After"]) > 0
        assert (await client.get("/health/live")).status == 200
        await migrations.upgrade(app.database.engine)
        assert (await client.get("/health/ready")).status == 200


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_service_is_not_ready_on_a_database_that_is_not_in_utf8(
    service_databases: Databases, tmp_path: Path, encoding: str
) -> None:
    options = f"ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    with service_databases.database(migrated=False, options=options) as database:
        settings = make_settings(database_url=database.url, data_dir=tmp_path)
        async with running(settings) as app:
            answer = await Client(app).get("/health/ready")
    assert f"encoding is {encoding}" in refused(answer, 503)["message"]


async def test_service_is_not_ready_at_another_revision(
    client: Client, db: "asyncpg.Connection"
) -> None:
    await db.execute("UPDATE alembic_version SET version_num = 'other'")
    refused(await client.get("/health/ready"), 503)


async def test_service_is_alive_but_not_ready_without_a_database(tmp_path: Path) -> None:
    async with running(make_settings(database_url=NOWHERE, data_dir=tmp_path)) as app:
        client = Client(app)
        assert (await client.get("/health/live")).status == 200
        assert "database" in refused(await client.get("/health/ready"), 503)["message"]


async def test_service_is_not_ready_once_its_shutdown_has_begun(client: Client) -> None:
    client.app.shutdown_state.begin()
    assert "shutting down" in refused(await client.get("/health/ready"), 503)["message"]
    assert (await client.get("/health/live")).status == 200


async def test_service_is_ready_although_writes_hold_every_connection_that_they_may(
    app: Service, client: Client
) -> None:
    sessions = [app.database.session() for _ in range(4)]
    for held in sessions:
        await held.connection()
    assert (await client.get("/health/ready")).status == 200
    for held in sessions:
        await held.close()


async def test_many_readiness_checks_at_once_succeed(client: Client) -> None:
    answers = await asyncio.gather(*(client.get("/health/ready") for _ in range(50)))
    assert {answer.status for answer in answers} == {200}


async def test_readiness_does_not_wait_for_a_silent_database(tmp_path: Path) -> None:
    taken: list[asyncio.StreamWriter] = []

    async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        url = f"postgresql://nobody@127.0.0.1:{port}/nowhere"
        async with running(make_settings(database_url=url, data_dir=tmp_path)) as app:
            start = monotonic()
            answers = await asyncio.gather(*(Client(app).get("/health/ready") for _ in range(3)))
            assert monotonic() - start < 4
            assert all("does not answer" in refused(each, 503)["message"] for each in answers)
        for writer in taken:
            writer.close()


async def test_readiness_does_not_wait_for_a_locked_table(
    client: Client, db: "asyncpg.Connection"
) -> None:
    async with db.transaction():
        await db.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        start = monotonic()
        refused(await client.get("/health/ready"), 503)
        assert monotonic() - start < 4
    assert (await client.get("/health/ready")).status == 200
