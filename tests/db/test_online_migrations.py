"""Migrations of a database that is in use."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db import migration_locks, migrations
from tests.support.command import Invoke
from tests.support.migrating import OtherRelease, engine_on, migrate
from tests.support.polling import until

ADD_COLUMN = 'op.add_column("posts", sa.Column("summary", sa.Text))'
DROP_COLUMN = 'op.drop_column("posts", "summary")'
CREATE_INDEX = """
from service.db.concurrent_index import create_index_concurrently

create_index_concurrently("ix_sample", "posts", ["title"])
"""
REVISION = "SELECT version_num FROM alembic_version"
VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_sample'::regclass"
DEADLOCKED_ONCE = """
op.execute(
    "DO $$ BEGIN IF nextval('tries') = 1 THEN "
    "RAISE EXCEPTION 'deadlock detected' USING ERRCODE = 'deadlock_detected'; END IF; END $$"
)
"""
WAITING = "SELECT count(*) FROM pg_locks WHERE relation = 'sessions'::regclass AND NOT granted"
BUILDING = "SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = current_database()"


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on a database at this code's head."""
    async with engine_on(database_url, migrating=True) as made:
        yield made


@pytest.fixture
def newer(tmp_path: Path) -> Iterator[OtherRelease]:
    """The release that this process is of, to which a test adds migrations."""
    release = OtherRelease(tmp_path / "newer")
    with release.running():
        yield release


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Migrations that wait for a table only half a second, twice."""
    monkeypatch.setattr(migration_locks, "LOCK_TIMEOUT", "500ms")
    monkeypatch.setattr(migration_locks, "POLL_PAUSE", 0.05)
    monkeypatch.setattr(migrations, "LOCK_PAUSES", (0.1,))


async def test_failed_migration_leaves_those_before_it(
    engine: AsyncEngine, newer: OtherRelease, db: "asyncpg.Connection"
) -> None:
    added = newer.add(ADD_COLUMN)
    newer.add(f'{DROP_COLUMN}\nop.execute("SELECT 1/0")')
    with pytest.raises(DBAPIError, match="division by zero"):
        await migrations.upgrade(engine)
    assert await db.fetchval(REVISION) == added
    await db.execute("SELECT summary FROM posts")


@pytest.mark.usefixtures("impatient")
async def test_migration_lets_go_of_a_table_in_use_and_tries_again(
    engine: AsyncEngine,
    newer: OtherRelease,
    db: "asyncpg.Connection",
    caplog: pytest.LogCaptureFixture,
) -> None:
    added = newer.add(ADD_COLUMN)
    caplog.set_level(logging.INFO, "service.db")
    async with db.transaction():
        await db.execute("SET LOCAL application_name = 'nightly'; SELECT FROM posts")
        upgrade = asyncio.create_task(migrations.upgrade(engine))
        await until(lambda: logged(caplog, "trying again"))
    await upgrade
    assert await db.fetchval(REVISION) == added
    assert f"posts is held by process {db.get_server_pid()} (nightly), in a transaction" in (
        caplog.text
    )


async def test_migrations_of_second_factors_do_not_deadlock_with_requests(
    engine: AsyncEngine, db: "asyncpg.Connection", database_url: str
) -> None:
    """A request looks at sessions, then at users."""
    await migrate(database_url, "0016", down=True)
    async with db.transaction():
        await db.execute("SET LOCAL lock_timeout = '500ms'; SELECT FROM sessions")
        upgrade = asyncio.create_task(migrations.upgrade(engine))
        await until(lambda: db.fetchval(WAITING))
        await db.execute("SELECT FROM users")
    await upgrade


@pytest.mark.usefixtures("impatient")
async def test_migration_that_was_the_victim_of_a_deadlock_is_tried_again(
    engine: AsyncEngine, newer: OtherRelease, db: "asyncpg.Connection"
) -> None:
    await db.execute("CREATE SEQUENCE tries")
    added = newer.add(DEADLOCKED_ONCE)
    await migrations.upgrade(engine)
    assert await db.fetchval(REVISION) == added


async def logged(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    return words in caplog.text


@pytest.mark.usefixtures("impatient")
async def test_migration_that_never_gets_a_table_names_it_and_its_holder(
    engine: AsyncEngine, newer: OtherRelease, db: "asyncpg.Connection"
) -> None:
    newer.add(ADD_COLUMN)
    async with db.transaction():
        await db.execute("SELECT FROM posts")
        with pytest.raises(migrations.TableLocked, match="posts is held by process") as refused:
            await migrations.upgrade(engine)
    assert "SELECT" not in str(refused.value)


@pytest.mark.usefixtures("impatient")
async def test_index_is_made_while_a_transaction_is_open_and_others_write(
    engine: AsyncEngine, newer: OtherRelease, db: "asyncpg.Connection", database_url: str
) -> None:
    """It waits longer for the transaction than it would for a table."""
    newer.add(CREATE_INDEX)
    reader = await asyncpg.connect(database_url)
    async with reader.transaction(isolation="repeatable_read"):
        await reader.execute("SELECT FROM posts")
        upgrade = asyncio.create_task(migrations.upgrade(engine))
        await until(lambda: db.fetchval(BUILDING))
        await db.execute("SELECT pg_sleep(1)")
        await db.execute("UPDATE posts SET title = title")
        assert not upgrade.done()
    await reader.close()
    await upgrade
    assert await db.fetchval(VALID)


async def test_index_replaces_what_an_interrupted_run_left(
    engine: AsyncEngine, newer: OtherRelease, db: "asyncpg.Connection"
) -> None:
    newer.add(CREATE_INDEX)
    await db.execute("CREATE INDEX ix_sample ON posts (title)")
    await db.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_sample'::regclass"
    )
    await migrations.upgrade(engine)
    assert await db.fetchval(VALID)


def test_migrate_leaves_contract_migrations_for_after_the_roll_out(
    invoke: Invoke, newer: OtherRelease, database_url: str
) -> None:
    start = newer.head
    expand, contract = newer.add(ADD_COLUMN), newer.add(DROP_COLUMN, "contract")
    first, again = (invoke("migrate", database_url=database_url) for _ in range(2))
    left = (
        f"Left for after the roll-out: {contract} "
        "(run `service migrate --contract` once no process of an older release runs).\n"
    )
    assert first.stdout == f"Migrated from {start} to {expand}.\n{left}"
    assert (again.exit_code, again.stdout) == (0, left)
    behind = newer.add("pass")
    refused = invoke("migrate", database_url=database_url)
    assert refused.exit_code == 1
    assert f"{contract} of an earlier release stands before what this one needs" in refused.stderr
    done = invoke("migrate", "--contract", database_url=database_url)
    assert done.stdout.splitlines()[-1] == f"Migrated from {contract} to {behind}."


def test_migrate_of_an_older_release_changes_nothing(
    invoke: Invoke, tmp_path: Path, database_url: str
) -> None:
    release = OtherRelease(tmp_path / "newer")
    release.add(ADD_COLUMN)
    with release.running():
        assert invoke("migrate", database_url=database_url).exit_code == 0
    older = invoke("migrate", database_url=database_url)
    assert (older.exit_code, older.stdout) == (0, "The schema is at head already.\n")


def test_migrate_refuses_pgbouncer(invoke: Invoke, database_url: str) -> None:
    refused = invoke("migrate", database_url=database_url, database_pgbouncer=True)
    assert refused.exit_code == 1
    assert "without DATABASE_PGBOUNCER" in refused.stderr
