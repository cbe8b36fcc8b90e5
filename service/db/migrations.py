"""Bringing the database's schema to head."""

from dataclasses import dataclass
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db.schema_version import MIGRATIONS
from service.settings import PROJECT


def config() -> Config:
    """Alembic's configuration, wherever the process was started."""
    found = Config(PROJECT / "alembic.ini")
    # A wheel has no alembic.ini, which says the same for a checkout. Values have % doubled.
    found.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return found


@dataclass(frozen=True)
class Step:
    """A migration that ran: the revisions before (None: an empty database) and after it."""

    before: str | None
    after: str


async def upgrade(engine: AsyncEngine) -> list[Step]:
    """Upgrade to head, and return the migrations that ran.

    Concurrent runs wait for one another; a failed run leaves nothing behind.
    """
    steps: list[Step] = []

    def record(*, step: Any, **_: Any) -> None:
        steps.append(Step(", ".join(step.source_revision_ids) or None, step.up_revision_id))

    def run(connection: Connection) -> None:
        settings = config()
        settings.attributes["connection"] = connection
        settings.attributes["on_version_apply"] = record
        command.upgrade(settings, "head")

    async with engine.connect() as connection:
        await connection.run_sync(run)
    return steps
