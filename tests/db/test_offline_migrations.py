"""Migrations as SQL scripts (`alembic upgrade … --sql`), for those whose DBA runs them."""

import subprocess
from io import StringIO
from typing import Any

import asyncpg
import pytest
from alembic import command

from service.db import migrations
from service.embedded_postgres.binaries import find_binaries
from service.embedded_postgres.os_user import current_user

TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"


def script(run: Any, revisions: str) -> str:
    """The SQL that an Alembic command writes."""
    config = migrations.config()
    config.output_buffer = StringIO()
    run(config, revisions, sql=True)
    return config.output_buffer.getvalue()


async def apply(database_url: str, *scripts: str) -> None:
    """Run scripts as psql would."""
    connection = await asyncpg.connect(database_url)
    try:
        for each in scripts:
            await connection.execute(each)
    finally:
        await connection.close()


def dump(database_url: str) -> list[str]:
    """The schema and the data of a database, without its first event, which has a time."""
    pg_dump = str(find_binaries(current_user()) / "pg_dump")
    command = [pg_dump, "--no-owner", "--inserts", "--exclude-table-data=post_events", database_url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # Their keys are random.
    return [
        line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))
    ]


@pytest.mark.parametrize(
    "ranges", [["head"], ["0004", "0004:0007", "0007:head"]], ids=["whole", "in ranges"]
)
async def test_script_makes_the_schema_that_migrating_makes(
    empty_url: str, database_url: str, ranges: list[str]
) -> None:
    await apply(empty_url, *(script(command.upgrade, one) for one in ranges))
    assert dump(empty_url) == dump(database_url)


async def test_downgrade_script_leaves_nothing(empty_url: str, database_url: str) -> None:
    await apply(database_url, script(command.downgrade, "head:base"))
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval(TABLES) == 1  # alembic_version
    await connection.close()


def test_script_is_one_transaction_behind_the_lock_of_all_runners() -> None:
    lines = [line for line in script(command.upgrade, "head").splitlines() if line]
    assert lines[:3] == [
        "BEGIN;",
        "SET LOCAL statement_timeout = 0;",
        "SELECT pg_advisory_xact_lock(7042001);",
    ]
    assert lines[-1] == "COMMIT;"
    assert lines.count("BEGIN;") == lines.count("COMMIT;") == 1


async def test_script_has_the_search_language(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEARCH_LANGUAGE", "german")
    await apply(empty_url, script(command.upgrade, "head"))
    connection = await asyncpg.connect(empty_url)
    assert await connection.fetchval("SELECT post_query('Häuser')::text") == "'haus'"
    await connection.close()


async def test_unknown_search_language_fails_when_the_script_runs(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEARCH_LANGUAGE", "klingon")
    with pytest.raises(asyncpg.UndefinedObjectError, match="klingon"):
        await apply(empty_url, script(command.upgrade, "head"))
    monkeypatch.setenv("SEARCH_LANGUAGE", "x', ''); DROP TABLE users; --")
    with pytest.raises(ValueError, match="SEARCH_LANGUAGE"):
        script(command.upgrade, "head")


async def test_script_makes_a_schema_of_its_own(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_SCHEMA", "My-service")
    await apply(empty_url, script(command.upgrade, "head"))
    connection = await asyncpg.connect(empty_url)
    assert await connection.fetchval(TABLES) == 0
    assert await connection.fetchval('SELECT version_num FROM "My-service".alembic_version')
    await connection.close()
