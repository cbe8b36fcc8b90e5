"""The service beside another application in one database, and in a schema of its own."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from alembic import command

from service.cli.database import connected
from service.db.database import Database
from service.db.engine import create_engine
from service.db.schema_version import head_revision, schema_mismatch
from service.settings import Settings
from service.testing.application import make_app, make_settings, running, working
from tests.support.client import Client
from tests.support.command import Invoke
from tests.support.eventsource import EventSource, streaming
from tests.support.migrating import alembic
from tests.support.smtp import SmtpServer
from tests.support.streams import write_post

# Another application's tables, by what is odd about them; each beside its alembic_version.
OTHERS: dict[str, tuple[str, str | None]] = {
    "its own revision": ("CREATE TABLE invoices (id int)", "f00dfeed1234"),
    "tables of our names": ("CREATE TABLE users (id int); CREATE TABLE posts (id int)", "f00dfeed"),
    "a revision of our number": ("CREATE TABLE invoices (id int)", "0003"),
    "our head's number": ("CREATE TABLE users (id int); CREATE TABLE posts (id int)", "{head}"),
    "no revision": ("CREATE TABLE posts (id int)", None),
}
TABLES = "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname !~ '^(pg_|info)'"


@pytest.fixture
async def inside(empty_url: str) -> AsyncIterator["asyncpg.Connection"]:
    """A plain connection to a database without the service."""
    connection = await asyncpg.connect(empty_url)
    yield connection
    await connection.close()


async def tables(connection: "asyncpg.Connection") -> set[str]:
    return {row[0] for row in await connection.fetch(TABLES)}


@pytest.fixture(params=list(OTHERS.values()), ids=list(OTHERS))
async def occupied(
    request: pytest.FixtureRequest, inside: "asyncpg.Connection"
) -> tuple["asyncpg.Connection", set[str]]:
    """A database in which another application is, and its tables."""
    statements, revision = request.param
    await inside.execute(statements)
    if revision:
        await inside.execute("CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)")
        insert = "INSERT INTO alembic_version VALUES ($1)"
        await inside.execute(insert, revision.format(head=head_revision()))
    return inside, await tables(inside)


async def test_migrate_says_what_it_found_and_changes_nothing(
    invoke: Invoke, empty_url: str, occupied: tuple["asyncpg.Connection", set[str]]
) -> None:
    connection, before = occupied
    result = await asyncio.to_thread(invoke, "migrate", database_url=empty_url)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The migration failed, and nothing was changed: ")
    assert "another application's" in result.stderr or "already exists" in result.stderr
    assert "DATABASE_SCHEMA" in result.stderr
    assert result.stderr.count("\n") == 1
    assert await tables(connection) == before


async def test_schema_of_its_own_lies_beside_another_application(
    invoke: Invoke, empty_url: str, occupied: tuple["asyncpg.Connection", set[str]]
) -> None:
    connection, before = occupied
    for expected in ("Migrated from an empty database", "The schema is at head already."):
        settings = {"database_url": empty_url, "database_schema": "My-service"}
        result = await asyncio.to_thread(invoke, "migrate", **settings)
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith(expected)
    made = await tables(connection) - before
    assert {name.partition(".")[0] for name in made} == {"My-service"}
    assert {"My-service.alembic_version", "My-service.users", "My-service.pgqueuer"} <= made
    functions = "SELECT DISTINCT pronamespace::regnamespace::text FROM pg_proc WHERE oid > 16384"
    assert [row[0] for row in await connection.fetch(functions)] == ['"My-service"']


@pytest.fixture
def settings(empty_url: str, tmp_path: Path, smtp: SmtpServer) -> Settings:
    return make_settings(
        database_url=empty_url, database_schema="select", data_dir=tmp_path, smtp_url=smtp.url
    )


@pytest.fixture
async def migrated(settings: Settings, inside: "asyncpg.Connection") -> "asyncpg.Connection":
    """A database with the service in its schema, and nothing elsewhere."""
    engine = create_engine(settings, migrating=True)
    await alembic(engine, command.upgrade, "head")
    await engine.dispose()
    return inside


async def test_all_of_the_service_works_in_a_schema_of_its_own(
    settings: Settings, migrated: "asyncpg.Connection", smtp: SmtpServer
) -> None:
    async with running(settings) as app, working(settings):
        assert (await Client(app).get("/health/ready")).status == 200
        author = await Client(app).sign_up()
        await smtp.wait_for(1)
        post = await write_post(author)
        found = (await author.get("/api/posts?q=content")).json
        assert [each["id"] for each in found["posts"]] == [post["id"]]
    async with connected(settings) as connection:
        assert await connection.fetchval("SELECT count(*) FROM users") == 1
    assert await migrated.fetchval('SELECT count(*) FROM "select".posts') == 1
    assert {name.partition(".")[0] for name in await tables(migrated)} == {"select"}


async def test_stream_works_in_a_schema_of_its_own(
    settings: Settings, migrated: "asyncpg.Connection"
) -> None:
    app = make_app(settings)
    async with streaming(app) as port:
        author = await Client(app).sign_up()
        async with EventSource(port).connected() as source:
            expected = await write_post(author)
            assert (await source.next()).data == expected


async def test_models_fit_a_schema_of_its_own(
    settings: Settings, migrated: "asyncpg.Connection"
) -> None:
    engine = create_engine(settings)
    await alembic(engine, command.check)
    await alembic(engine, command.downgrade, "base")
    await engine.dispose()
    assert await tables(migrated) == {"select.alembic_version"}


async def test_role_behind_pgbouncer_must_be_in_the_schema(
    settings: Settings, migrated: "asyncpg.Connection"
) -> None:
    database = Database(settings.model_copy(update={"database_pgbouncer": True}))
    async with database.engine.connect() as connection:
        problem = await connection.run_sync(schema_mismatch)
    await database.close()
    assert problem is not None
    assert "search_path" in problem


async def test_role_that_may_make_no_schema_migrates_one_that_exists(
    migrated: "asyncpg.Connection", settings: Settings, invoke: Invoke
) -> None:
    name = await migrated.fetchval("SELECT current_database()")
    await migrated.execute(
        f"""
        DROP SCHEMA "select" CASCADE;
        CREATE ROLE r_{name} LOGIN;
        CREATE SCHEMA "select" AUTHORIZATION r_{name};
        """
    )
    url = settings.database_dsn.replace("service@", f"r_{name}@")
    try:
        options = {"database_url": url, "database_schema": "another"}
        refused = await asyncio.to_thread(invoke, "migrate", **options)
        assert "permission denied" in refused.stderr
        options = {"database_url": url, "database_schema": "select"}
        done = await asyncio.to_thread(invoke, "migrate", **options)
        assert done.exit_code == 0, done.output
    finally:
        await migrated.execute(f'DROP SCHEMA "select" CASCADE; DROP ROLE r_{name}')


@pytest.mark.proof
def test_embedded_database_has_the_schema_too(invoke: Invoke) -> None:
    assert "Migrated from an empty" in invoke("migrate", database_schema="own").stdout
    assert "at head already" in invoke("migrate", database_schema="own").stdout
    assert "Migrated from an empty" in invoke("migrate", database_schema="another").stdout


@pytest.mark.parametrize(
    "name", ["pg_own", "$user", 'a"b', "a b", "a.b", "1st", "-x", "x" * 64, "schéma", "a\0"]
)
def test_wrong_schema_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="database_schema"):
        make_settings(database_schema=name)
