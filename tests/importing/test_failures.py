"""What stops an import: one sentence, exit code 1, no secret."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr

from service.settings import Settings
from tests.support.command import Invoke
from tests.support.flask_import import run_import
from tests.support.flask_service import fill, user


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nowhere.db", "There is no file nowhere.db."),
        ("sqlite:////nowhere/old.db", "There is no file /nowhere/old.db."),
        ("sqlite://", "The URL names no file"),
        ("sqlite:///:memory:", "The URL names no file"),
        ("mysql+pymysql://me:hunter2@db/old", "mysql: only SQLite and PostgreSQL"),
        ("postgresql://me:hunter2@127.0.0.1:1/old", "127.0.0.1:1/old does not answer."),
        ("postgresql://me:hunter2@127.0.0.1:port/old", "The address can't be read"),
        ("postgresql://me:hunter2@[::1/old", "The address can't be read"),
        ("postgresql://me:hunter2@/old?host=/nowhere", "does not answer."),
    ],
)
async def test_wrong_import_address_is_reported(
    invoke: Invoke, settings: Settings, url: str, sentence: str
) -> None:
    done = await run_import(invoke, settings, url)
    assert done.code == 1
    assert done.output.startswith("Error: ")
    assert sentence in done.output
    assert len(done.output.splitlines()) == 1
    assert "hunter2" not in done.output


async def test_missing_source_database_is_reported(invoke: Invoke, settings: Settings) -> None:
    url = settings.database_dsn.replace("/test_", "/gone_")
    done = await run_import(invoke, settings, url)
    assert done.code == 1
    assert "refuses the connection: database" in done.output


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("DROP TABLE posts", "There is no table posts: this is no database of the Flask service."),
        ("DROP TABLE users", "There is no table users: this is no database of the Flask service."),
        ("ALTER TABLE users DROP COLUMN is_admin", "The table users has no column is_admin."),
        ("ALTER TABLE posts RENAME user_id TO author", "The table posts has no column user_id."),
    ],
)
async def test_source_with_other_tables_is_reported(
    invoke: Invoke, settings: Settings, sqlite_url: str, statement: str, sentence: str
) -> None:
    await asyncio.to_thread(fill, sqlite_url, [user(1)], [])
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        connection.execute(statement)
    done = await run_import(invoke, settings, sqlite_url)
    assert (done.code, done.output) == (1, f"Error: {sentence}\n")


async def test_own_database_is_refused_as_source(invoke: Invoke, settings: Settings) -> None:
    done = await run_import(invoke, settings, settings.database_dsn)
    assert done.code == 1
    assert "The table posts has no column user_id." in done.output


async def test_source_file_that_is_no_database_is_reported(
    invoke: Invoke, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("not a database " * 100)
    done = await run_import(invoke, settings, "notes.txt")
    assert (done.code, done.output) == (
        1,
        "Error: The SQLite file can't be read: file is not a database.\n",
    )


async def test_report_that_cannot_be_written_is_reported(
    invoke: Invoke, settings: Settings, sqlite_url: str
) -> None:
    await asyncio.to_thread(fill, sqlite_url, [user(1)], [])
    done = await run_import(invoke, settings, sqlite_url, "--report=/nowhere/report")
    assert done.code == 1
    assert "can't be written to /nowhere/report: No such file or directory." in done.output


async def test_schema_that_is_behind_stops_the_import(
    invoke: Invoke, settings: Settings, sqlite_url: str, empty_url: str
) -> None:
    await asyncio.to_thread(fill, sqlite_url, [user(1)], [])
    behind = settings.model_copy(update={"database_url": SecretStr(empty_url)})
    done = await run_import(invoke, behind, sqlite_url, "--dry-run")
    assert (done.code, "run `service migrate`" in done.output) == (1, True)
    assert (await run_import(invoke, behind, sqlite_url)).code == 0
