"""Which schemas of other releases the code is ready on."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db import migrations
from service.db.schema_version import CONTRACT, head_revision, schema_mismatch
from tests.support.migrating import OtherRelease, alembic, engine_on

ADD_COLUMN = 'op.add_column("posts", sa.Column("summary", sa.Text))'
DROP_COLUMN = 'op.drop_column("posts", "summary")'


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on a database at this code's head."""
    async with engine_on(database_url) as made:
        yield made


@pytest.fixture
def newer(tmp_path: Path) -> OtherRelease:
    """A release to come."""
    return OtherRelease(tmp_path / "newer")


async def problem(engine: AsyncEngine) -> str | None:
    async with engine.connect() as connection:
        return await connection.run_sync(schema_mismatch)


async def test_code_is_ready_on_a_newer_schema_that_migrate_recorded(
    engine: AsyncEngine, newer: OtherRelease
) -> None:
    newer.add(ADD_COLUMN)
    newer.add("pass")
    with newer.running():
        await migrations.upgrade(engine)
        assert await problem(engine) is None
    assert await problem(engine) is None


async def test_code_is_not_ready_on_an_unknown_schema_that_is_not_recorded(
    engine: AsyncEngine, db: "asyncpg.Connection"
) -> None:
    await db.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "at 9999, which this code does not know" in (await problem(engine) or "")
    # One that follows another than this code's head is none of its successors.
    await db.execute("INSERT INTO schema_revisions VALUES ('9999', '9998', 'expand')")
    assert "at 9999, which this code does not know" in (await problem(engine) or "")
    await db.execute("DROP TABLE schema_revisions")
    assert "at 9999, which this code does not know" in (await problem(engine) or "")


async def test_code_is_not_ready_on_a_schema_that_was_contracted_for_a_newer_release(
    engine: AsyncEngine, newer: OtherRelease
) -> None:
    newer.add(ADD_COLUMN)
    contracted = newer.add(DROP_COLUMN, CONTRACT)
    newer.add("pass")
    with newer.running():
        await migrations.upgrade(engine)
    assert "which lacks what this code needs" in (await problem(engine) or "")
    assert contracted > head_revision()


async def test_code_is_ready_before_its_contract_migrations_and_not_before_others(
    engine: AsyncEngine, newer: OtherRelease
) -> None:
    newer.add("pass", CONTRACT)
    with newer.running():
        assert await problem(engine) is None
    newer.add(ADD_COLUMN)
    with newer.running():
        assert "run `service migrate`" in (await problem(engine) or "")


async def test_downgrade_forgets_the_order(
    engine: AsyncEngine, newer: OtherRelease, db: "asyncpg.Connection"
) -> None:
    added = newer.add("pass")
    with newer.running():
        await migrations.upgrade(engine)
        await alembic(engine, command.downgrade, "-1")
    rows = await db.fetch("SELECT revision FROM schema_revisions")
    assert added not in {row["revision"] for row in rows}
