"""Alembic's commands on a test's database."""

from collections.abc import Callable
from typing import Any

import asyncpg
from alembic import command
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from service.db import migrations


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
