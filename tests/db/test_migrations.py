"""Migrations, on databases of their own."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db import migration_locks, migrations
from service.db.engine import SILENCE, create_engine
from service.db.schema_version import head_revision, schema_mismatch
from service.settings import PROJECT
from service.testing.application import SECRET, make_settings
from tests.support.migrating import RUNNERS_WAITING, alembic, engine_on
from tests.support.polling import until

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
SLEEPING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE wait_event = 'PgSleep' AND datname = current_database()
"""
FUNCTIONS = "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"


@pytest.fixture
async def engine(empty_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on a database without a schema."""
    async with engine_on(empty_url) as made:
        yield made


@pytest.fixture
async def inside(empty_url: str) -> AsyncIterator["asyncpg.Connection"]:
    """A plain connection to that database."""
    connection = await asyncpg.connect(empty_url)
    yield connection
    await connection.close()


async def names(connection: "asyncpg.Connection", query: str) -> set[str]:
    return {row[0] for row in await connection.fetch(query)}


async def problem(engine: AsyncEngine) -> str | None:
    async with engine.connect() as connection:
        return await connection.run_sync(schema_mismatch)


def test_head_revision_is_alembic_s() -> None:
    heads = ScriptDirectory.from_config(migrations.config()).get_heads()
    assert heads == [head_revision()], "a migration's file begins with its number, the next one"


def test_serving_does_not_need_alembic() -> None:
    seen = "import sys, service.app; print('alembic.script' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", seen], capture_output=True, check=True, cwd=PROJECT)
    assert ran.stdout == b"False\n"


async def test_upgrade_brings_an_empty_database_to_head(engine: AsyncEngine) -> None:
    assert "service migrate" in (await problem(engine) or "")
    await migrations.upgrade(engine)
    assert await problem(engine) is None


async def test_upgrade_at_head_does_nothing(engine: AsyncEngine) -> None:
    await migrations.upgrade(engine)
    await migrations.upgrade(engine)
    assert await problem(engine) is None


async def test_downgrade_leaves_nothing_and_another_upgrade_works(
    engine: AsyncEngine, inside: "asyncpg.Connection"
) -> None:
    await migrations.upgrade(engine)
    await alembic(engine, command.downgrade, "base")
    assert await names(inside, TABLES) == {"alembic_version"}
    assert await names(inside, FUNCTIONS) == set()
    await migrations.upgrade(engine)
    assert await problem(engine) is None


async def test_models_and_migrations_agree(engine: AsyncEngine) -> None:
    await migrations.upgrade(engine)
    await alembic(engine, command.check)  # raises when they differ
    assert await problem(engine) is None


@pytest.mark.proof
async def test_four_processes_that_upgrade_at_once_all_succeed(
    engine: AsyncEngine, empty_url: str
) -> None:
    environment = {
        "DATABASE_URL": empty_url,
        "SERVICE_ENV": "testing",
        "SECRET_KEY": SECRET,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-m", "alembic", "-c", str(PROJECT / "alembic.ini")]
    runs = [
        await asyncio.create_subprocess_exec(*command, "upgrade", "head", env=environment)
        for _ in range(4)
    ]
    assert [await run.wait() for run in runs] == [0, 0, 0, 0]
    assert await problem(engine) is None


async def test_failed_upgrade_leaves_nothing_behind(
    engine: AsyncEngine, inside: "asyncpg.Connection"
) -> None:
    await inside.execute("CREATE TABLE posts (stray integer)")
    with pytest.raises(DBAPIError):
        await migrations.upgrade(engine)
    assert await names(inside, TABLES) == {"posts"}
    await inside.execute("DROP TABLE posts")
    await migrations.upgrade(engine)
    assert await problem(engine) is None


async def test_waiting_migration_names_the_process_that_holds_the_lock(
    engine: AsyncEngine,
    inside: "asyncpg.Connection",
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(migration_locks, "NAMED_AFTER", 0)
    await inside.execute("SET application_name = 'nightly'; SELECT pg_advisory_lock(7042001)")
    upgrade = asyncio.create_task(migrations.upgrade(engine))

    async def named() -> bool:
        return "wait for another runner" in caplog.text

    await until(named)
    await inside.execute("SELECT pg_advisory_unlock(7042001)")
    await upgrade
    pid = inside.get_server_pid()
    assert f"process {pid} (nightly, from a socket" in caplog.text
    assert f"SELECT pg_terminate_backend({pid})" in caplog.text


async def test_lost_runner_frees_the_lock_in_the_middle_of_a_statement(
    engine: AsyncEngine, inside: "asyncpg.Connection", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration_locks, "CLIENT_CHECK", "50ms")

    def sleep_long(connection: Connection) -> None:
        with migration_locks.sole_runner(connection):
            connection.execute(text("SELECT pg_sleep(3600)"))

    async with engine.connect() as connection:
        raw: Any = await connection.get_raw_connection()
        running = asyncio.create_task(connection.run_sync(sleep_long))
        await until(lambda: inside.fetchval(SLEEPING))
        raw.driver_connection.terminate()
        await until(lambda: inside.fetchval("SELECT pg_try_advisory_lock(7042001)"))
        with pytest.raises(DBAPIError):
            await running


async def test_upgrade_may_take_longer_than_a_request(
    empty_url: str, inside: "asyncpg.Connection"
) -> None:
    """It waits for another's lock past DATABASE_STATEMENT_TIMEOUT, and as long as it takes."""
    settings = make_settings(database_url=empty_url, database_statement_timeout=0.5)
    engine = create_engine(settings, migrating=True)
    await inside.execute("SELECT pg_advisory_lock(7042001)")
    upgrade = asyncio.create_task(migrations.upgrade(engine))
    await until(lambda: inside.fetchval(RUNNERS_WAITING))
    await inside.execute(f"SELECT pg_sleep({SILENCE + 0.6})")
    assert not upgrade.done()
    await inside.execute("SELECT pg_advisory_unlock(7042001)")
    await upgrade
    await engine.dispose()
