"""Alembic's commands on a test's database."""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import asyncpg
import pytest
from alembic import command
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from service.db import migrations, schema_version
from service.db.engine import create_engine
from service.testing.application import make_settings

REVISION = """\
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{follows}"
branch_labels = None
depends_on = None
kind = "{kind}"


def downgrade() -> None:
    pass


def upgrade() -> None:
"""


@asynccontextmanager
async def engine_on(url: str, *, migrating: bool = False) -> AsyncIterator[AsyncEngine]:
    """The service's engine on a database, for the block."""
    engine = create_engine(make_settings(database_url=url), migrating=migrating)
    try:
        yield engine
    finally:
        await engine.dispose()


# How many migrations wait for another: they ask for the lock again and again.
RUNNERS_WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE query LIKE '%pg_try_advisory_lock%' AND datname = current_database()
        AND pid <> pg_backend_pid()
"""


async def alembic(engine: AsyncEngine, run: Callable[..., Any], *values: object) -> None:
    """Run a command of Alembic's on the engine."""

    def call(connection: Connection) -> None:
        config = migrations.config()
        config.attributes["connection"] = connection
        run(config, *values)

    async with engine.connect() as connection:
        await connection.run_sync(call)


async def migrate(database_url: str, revision: str, *, down: bool = False) -> None:
    """Bring the database to a revision."""
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: asyncpg.connect(database_url),
        poolclass=NullPool,
    )
    await alembic(engine, command.downgrade if down else command.upgrade, revision)


class OtherRelease:
    """The code of a release that has more migrations than this one, each after the last."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shutil.copytree(
            schema_version.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__")
        )
        self.head = schema_version.head_revision()

    def add(self, upgrade: str, kind: str = "expand") -> str:
        """Write a migration whose `upgrade` has these lines; returns its revision."""
        follows, self.head = self.head, f"{int(self.head) + 1:04}"
        text = REVISION.format(revision=self.head, follows=follows, kind=kind)
        path = self._folder / "versions" / f"{self.head}_sample.py"
        path.write_text(text + indent(dedent(upgrade).strip(), "    ") + "\n")
        _forget_revisions()
        return self.head

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let this process have that code's migrations for the block."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(schema_version, "_VERSIONS", self._folder / "versions")
            patch.setattr(migrations, "MIGRATIONS", self._folder)
            _forget_revisions()
            try:
                yield
            finally:
                patch.undo()
                _forget_revisions()


def _forget_revisions() -> None:
    schema_version.known_revisions.cache_clear()
    schema_version.needed_revision.cache_clear()
