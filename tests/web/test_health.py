"""Liveness and readiness."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from service import migrations
from service.embedded import EmbeddedPostgres
from tests.client import Client, refused
from tests.conftest import make_settings, running

NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"


@pytest.fixture
async def empty_url(postgres: EmbeddedPostgres, admin: "asyncpg.Connection") -> AsyncIterator[str]:
    """A database without a schema."""
    name = f"empty_{uuid4().hex}"
    await admin.execute(f"CREATE DATABASE {name}")
    yield postgres.url(name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
async def test_well(anyone: Client, path: str) -> None:
    answer = await anyone.get(path)
    assert (answer.status, answer.json) == (200, {"status": "ok"})


async def test_ready_only_once_migrated(empty_url: str, tmp_path: Path) -> None:
    async with running(make_settings(database_url=empty_url, data_dir=tmp_path)) as app:
        client = Client(app)
        answer = await client.get("/health/ready")
        assert "service migrate" in refused(answer, 503)["message"]
        assert int(answer.headers["Retry-After"]) > 0
        assert (await client.get("/health/live")).status == 200
        await migrations.upgrade(app.extensions["database"].engine)
        assert (await client.get("/health/ready")).status == 200


async def test_not_ready_at_another_revision(client: Client, db: "asyncpg.Connection") -> None:
    await db.execute("UPDATE alembic_version SET version_num = 'other'")
    refused(await client.get("/health/ready"), 503)


async def test_alive_but_not_ready_without_a_database(tmp_path: Path) -> None:
    async with running(make_settings(database_url=NOWHERE, data_dir=tmp_path)) as app:
        client = Client(app)
        assert (await client.get("/health/live")).status == 200
        assert "database" in refused(await client.get("/health/ready"), 503)["message"]
