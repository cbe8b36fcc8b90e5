"""Bringing the database's schema to head."""

from functools import cache

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from service.settings import PROJECT


def config() -> Config:
    """Alembic's configuration, wherever the process was started."""
    return Config(PROJECT / "alembic.ini")


@cache
def head_revisions() -> frozenset[str]:
    """The revisions that this code expects of the database."""
    return frozenset(ScriptDirectory.from_config(config()).get_heads())


async def upgrade(engine: AsyncEngine) -> None:
    """Upgrade to head. Runners wait for one another; a failed run leaves nothing behind."""

    def run(connection: Connection) -> None:
        settings = config()
        settings.attributes["connection"] = connection
        command.upgrade(settings, "head")

    async with engine.connect() as connection:
        await connection.run_sync(run)
