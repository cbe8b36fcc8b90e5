"""How migrations run: asynchronously, one runner at a time, each run in one transaction."""

import asyncio
from typing import Any

from alembic import context
from sqlalchemy import Connection

import service.accounts.models
import service.audit.models
import service.auth.models
import service.posts.models
import service.web.idempotency  # noqa: F401 - imported for their tables
from service.cli.database import database_target
from service.db.base import Base
from service.db.engine import create_engine
from service.db.schema_version import encoding_mismatch
from service.settings import load_settings

# Tables whose schema belongs to a library.
FOREIGN_TABLES = ("pgqueuer",)
# An arbitrary constant; every runner takes the advisory lock of this number.
MIGRATION_LOCK = 7_042_001
# What a script has in place of `encoding_mismatch`.
REFUSE_ENCODING = """
DO $$ BEGIN
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE 'the database is not in UTF8, so it cannot hold every text';
    END IF;
END $$
"""


class EncodingRefused(Exception):
    """The database cannot hold every text."""


def include_object(_object: Any, name: str | None, kind: str, *_: Any) -> bool:
    """Leave alone what is not ours: tables that a library made and keeps."""
    return not (kind == "table" and name is not None and name.startswith(FOREIGN_TABLES))


def run_migrations(connection: Connection) -> None:
    """Run on an open connection."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_server_default=True,
        include_object=include_object,
        on_version_apply=context.config.attributes.get("on_version_apply"),
    )
    run_in_transaction()


def write_script() -> None:
    """Write the SQL of the migrations, for `alembic upgrade … --sql`."""
    context.configure(
        dialect_name="postgresql",
        # Any other style would double the percent signs of the triggers.
        dialect_opts={"paramstyle": "named"},
        target_metadata=Base.metadata,
        literal_binds=True,
    )
    run_in_transaction()


def run_in_transaction() -> None:
    """Run one runner at a time, scripts included."""
    with context.begin_transaction():
        # Inside the transaction: a statement before it would begin one of its own, and everything
        # that follows would be rolled back in silence.
        # A migration, and the wait for another's, may take longer than a request may.
        context.execute("SET LOCAL statement_timeout = 0")
        context.execute(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        if context.is_offline_mode():
            context.execute(REFUSE_ENCODING)
        elif problem := encoding_mismatch(context.get_bind()):
            raise EncodingRefused(problem)
        context.run_migrations()


async def run_with_own_engine() -> None:
    """Run for the `alembic` command, which has no connection yet."""
    with database_target(load_settings()) as target:
        engine = create_engine(target.settings, statement_timeout=False)
        try:
            async with engine.connect() as connection:
                await connection.run_sync(run_migrations)
        finally:
            await engine.dispose()


if context.is_offline_mode():
    write_script()
elif (connection := context.config.attributes.get("connection")) is not None:
    run_migrations(connection)
else:
    asyncio.run(run_with_own_engine())
