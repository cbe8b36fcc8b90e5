"""How migrations run: asynchronously, one runner at a time, each in a transaction of its own."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import Script
from sqlalchemy import Connection

import service.accounts.models
import service.audit.models
import service.auth.api_keys.models
import service.auth.external.models
import service.auth.models
import service.auth.passkeys.models
import service.auth.second_factor.models
import service.notices.models
import service.posts.models
import service.web.idempotency  # noqa: F401 - imported for their tables
from service.cli.database import database_target, refuse_pgbouncer
from service.db.base import Base
from service.db.engine import create_engine
from service.db.migration_locks import MIGRATION_LOCK, sole_runner
from service.db.own_schema import enter_schema, quoted, refuse_occupied
from service.db.schema_version import EXPAND, encoding_mismatch, wanted_schema
from service.ids import new_token
from service.settings import Environment, load_settings

# Tables without a model: those of libraries, and the order of the migrations.
UNMODELLED_TABLES = ("pgqueuer", "alembic_version", "schema_revisions")
# What a script has in place of `encoding_mismatch`.
REFUSE_ENCODING = """
DO $$ BEGIN
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE 'the database is not in UTF8, so it cannot hold every text';
    END IF;
END $$
"""
# Both do nothing before the migration that makes the table.
RECORD_REVISION = """
DO $$ BEGIN
    IF to_regclass('schema_revisions') IS NOT NULL THEN
        INSERT INTO schema_revisions (revision, follows, kind)
        VALUES ('{revision}', '{follows}', '{kind}')
        ON CONFLICT (revision) DO UPDATE SET follows = excluded.follows, kind = excluded.kind;
    END IF;
END $$
"""
FORGET_REVISION = """
DO $$ BEGIN
    IF to_regclass('schema_revisions') IS NOT NULL THEN
        DELETE FROM schema_revisions WHERE revision = '{revision}';
    END IF;
END $$
"""


class EncodingRefused(Exception):
    """The database cannot hold every text."""


def include_object(_object: Any, name: str | None, kind: str, *_: Any) -> bool:
    """Leave alone the tables that have no model."""
    return not (kind == "table" and name is not None and name.startswith(UNMODELLED_TABLES))


def record_order(
    ctx: MigrationContext, step: MigrationInfo, heads: Collection[Any], run_args: Mapping[str, Any]
) -> None:
    """Keep the revision that was applied, with what it follows, for processes that lack it."""
    script = step.up_revision
    if isinstance(script, Script):
        kind = getattr(script.module, "kind", EXPAND)
        statement = RECORD_REVISION if step.is_upgrade else FORGET_REVISION
        ctx.execute(
            statement.format(revision=script.revision, follows=script.down_revision, kind=kind)
        )
    if report := context.config.attributes.get("on_version_apply"):
        report(ctx=ctx, step=step, heads=heads, run_args=run_args)


def run_migrations(connection: Connection) -> None:
    """Run on an open connection."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_server_default=True,
        include_object=include_object,
        version_table_schema=wanted_schema(connection),
        on_version_apply=record_order,
        transaction_per_migration=True,
    )
    with sole_runner(connection):
        # The first migration's transaction: where it fails, no schema is left either.
        prepare(connection)
        context.run_migrations()


def write_script() -> None:
    """Write the SQL of the migrations as one transaction, for `alembic upgrade … --sql`."""
    context.configure(
        dialect_name="postgresql",
        # Any other style would double the percent signs of the triggers.
        dialect_opts={"paramstyle": "named"},
        target_metadata=Base.metadata,
        literal_binds=True,
        version_table_schema=script_schema(),
        on_version_apply=record_order,
    )
    with context.begin_transaction():
        context.execute("SET LOCAL statement_timeout = 0")
        context.execute(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        context.execute(REFUSE_ENCODING)
        if (schema := script_schema()) is not None:
            context.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
            context.execute(f"SET LOCAL search_path TO {quoted(schema)}")
        context.run_migrations()


def script_schema() -> str | None:
    """Return DATABASE_SCHEMA; a script connects to nothing and signs nothing."""
    settings = load_settings(service_env=Environment.TESTING, secret_key=new_token())
    return settings.database_schema


def prepare(connection: Connection) -> None:
    """Enter the schema. Raises what is wrong with the database."""
    if problem := encoding_mismatch(connection):
        raise EncodingRefused(problem)
    enter_schema(connection)
    refuse_occupied(connection)


async def run_with_own_engine() -> None:
    """Run for the `alembic` command, which has no connection yet."""
    with database_target(load_settings()) as target:
        refuse_pgbouncer(target.settings)
        engine = create_engine(target.settings, migrating=True)
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
