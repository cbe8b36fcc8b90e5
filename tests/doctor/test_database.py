"""The database, as `service doctor` finds it."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from service.db.schema_version import head_revision
from service.doctor import database
from service.doctor.findings import Findings
from service.doctor.server import report_capacity, report_version
from service.settings import Settings
from service.testing.application import make_settings
from service.testing.clock import Clock
from service.testing.database import Databases
from tests.support.doctor import Found, look
from tests.support.stored_secrets import (
    NEW,
    OLD,
    add_accounts,
    add_totps,
    encryption,
    encryption_keys,
)


async def examined(settings: Settings | str, *wrong: str, embedded: bool = True) -> Found:
    """The findings, of a database whose superuser is not worth a word."""
    if isinstance(settings, str):
        settings = make_settings(database_url=settings)
    return await look(database.check, settings, *wrong, embedded=embedded)


async def test_a_database_at_head_is_well(settings: Settings, db: asyncpg.Connection) -> None:
    tables = await contents(db)
    found = await examined(settings)
    assert found.is_well, found.listed
    assert "PostgreSQL" in found["ok"]
    assert not found["skipped"]
    assert "no extension is needed" in found["ok"]
    assert await contents(db) == tables


async def contents(db: asyncpg.Connection) -> dict[str, object]:
    """Every row of every table, and which transaction wrote it."""
    names = await db.fetch("SELECT relname FROM pg_stat_user_tables ORDER BY 1")
    return {
        name: await db.fetch(f'SELECT t.*::text, xmin::text FROM "{name}" AS t ORDER BY 1, 2')
        for (name,) in names
    }


async def test_an_empty_database_lacks_the_schema(empty_url: str) -> None:
    found = await examined(empty_url)
    assert "schema is not at head" in found.of("schema")["problem"]
    newest = f"(no migration ran there; this code's newest is {head_revision()})"
    assert newest in found.of("schema")["problem"]
    assert found.of("jobs")["skipped"]
    assert found.of("rights").is_well


@pytest.mark.parametrize(
    ("revision", "words"),
    [("0008", "not at head: run `service migrate`"), ("9999", "which this code does not know")],
)
async def test_another_revision_is_a_problem(
    settings: Settings, db: asyncpg.Connection, revision: str, words: str
) -> None:
    await db.execute("UPDATE alembic_version SET version_num = $1", revision)
    found = (await examined(settings)).of("schema")
    assert words in found["problem"]
    assert f"(it is at {revision}; this code's newest is {head_revision()})" in found["problem"]


async def test_a_newer_release_that_only_adds_is_well(
    settings: Settings, db: asyncpg.Connection
) -> None:
    await db.execute(
        "INSERT INTO schema_revisions (revision, follows, kind) "
        "SELECT '9999', version_num, 'expand' FROM alembic_version"
    )
    await db.execute("UPDATE alembic_version SET version_num = '9999'")
    found = (await examined(settings)).of("schema")
    assert found.is_well
    assert "at 9999, of a newer release" in found["ok"]


async def test_another_encoding_is_a_problem(service_databases: Databases) -> None:
    options = "ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    with service_databases.database(migrated=False, options=options) as made:
        found = await examined(made.url)
    assert "encoding is LATIN1, and must be UTF8" in found.of("database")["problem"]
    assert found["problem"].count("LATIN1") == 1
    assert found.of("schema")["skipped"]


async def test_a_read_only_database_is_a_problem(
    settings: Settings, db: asyncpg.Connection
) -> None:
    name = await db.fetchval("SELECT current_database()")
    await db.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert "takes no writes" in (await examined(settings))["problem"]


@pytest.fixture
async def stranger(db: asyncpg.Connection) -> AsyncIterator[str]:
    """A role without rights."""
    name = f"stranger_{uuid4().hex}"
    await db.execute(f"CREATE ROLE {name} LOGIN")
    yield name
    await db.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def as_role(url: str, role: str) -> str:
    """The URL for another user, who needs no password here."""
    return url.replace(f"//{urlsplit(url).netloc}", f"//{role}@", 1)


async def test_a_role_without_rights_lacks_them_by_table(
    database_url: str, db: asyncpg.Connection, stranger: str
) -> None:
    await db.execute(f"GRANT SELECT ON alembic_version, schema_revisions TO {stranger}")
    found = (await examined(as_role(database_url, stranger))).of("rights")
    lacking, _, of_tables = found["problem"].partition(" on ")
    assert lacking == "the role lacks SELECT, INSERT, UPDATE, DELETE"
    named = of_tables.partition(" → ")[0].split(", ")
    assert {"posts", "users", "pgqueuer"} <= {*named}
    assert "GRANT USAGE ON SEQUENCE pgqueuer_id_seq, " in found["problem"]
    assert "may make no tables in the schema public" in found["ok"]
    for advice in re.findall("GRANT .* TO", found["problem"]):
        await db.execute(f"{advice} {stranger}")
    assert (await examined(as_role(database_url, stranger))).is_well


async def test_a_role_that_may_not_use_the_queues_sequence_is_a_problem(
    database_url: str, db: asyncpg.Connection, stranger: str
) -> None:
    await db.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {stranger}")
    found = (await examined(as_role(database_url, stranger))).of("rights")
    assert "the role lacks USAGE on pgqueuer_id_seq, " in found["problem"]
    await db.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {stranger}")
    await db.execute(f"REVOKE UPDATE ON users FROM {stranger}")
    found = (await examined(as_role(database_url, stranger))).of("rights")
    assert found["problem"].startswith("the role lacks UPDATE on users")
    assert found["problem"].count("\n") == 0
    await db.execute(f"GRANT UPDATE ON users TO {stranger}")
    assert (await examined(as_role(database_url, stranger))).is_well


async def test_a_superuser_is_a_warning(
    database_url: str, db: asyncpg.Connection, stranger: str
) -> None:
    await db.execute(f"ALTER ROLE {stranger} SUPERUSER")
    url = as_role(database_url, stranger)
    assert "is a superuser" in (await examined(url, embedded=False))["warning"]
    await db.execute(f"ALTER ROLE {stranger} NOSUPERUSER")
    assert "is a superuser" not in (await examined(url, embedded=False))["warning"]


async def test_a_schema_that_does_not_exist_yet_is_a_warning_beside_what_is_missing(
    database_url: str, db: asyncpg.Connection
) -> None:
    settings = make_settings(database_url=database_url, database_schema="own")
    found = await examined(settings)
    assert "names no schema that exists" in found.of("rights")["warning"]
    assert "not at head" in found.of("schema")["problem"]
    await db.execute("CREATE SCHEMA own")
    assert (await examined(settings)).of("rights").is_well


async def test_events_of_another_cluster_are_a_problem(
    settings: Settings, db: asyncpg.Connection
) -> None:
    await db.execute("UPDATE post_events_cluster SET system_identifier = 1")
    assert "another database cluster" in (await examined(settings)).of("cluster")["problem"]


async def test_clocks_that_differ_are_a_warning_and_then_a_problem(
    settings: Settings, clock: Clock
) -> None:
    clock.advance(10)
    assert "differ by 10." in (await examined(settings)).of("clock")["warning"]
    clock.advance(60)
    assert "differ by 70." in (await examined(settings)).of("clock")["problem"]


async def test_secrets_without_their_key_are_a_problem(
    database_url: str, db: asyncpg.Connection
) -> None:
    await add_totps(db, encryption(OLD), await add_accounts(db, 1))
    settings = make_settings(database_url=database_url, encryption_keys=encryption_keys(NEW))
    assert "1 row of totps" in (await examined(settings)).of("encryption")["problem"]
    both = make_settings(database_url=database_url, encryption_keys=encryption_keys(NEW, OLD))
    assert (await examined(both)).of("encryption").is_well
    unsure = await examined(both, "ENCRYPTION_KEYS")
    assert "ENCRYPTION_KEYS is wrong" in unsure.of("encryption")["skipped"]


async def test_failed_jobs_are_a_warning(settings: Settings, db: asyncpg.Connection) -> None:
    await add_job(db, timedelta(0), status="failed")
    assert "1 job failed for good" in (await examined(settings)).of("jobs")["warning"]


@pytest.mark.parametrize(
    ("age", "status"),
    [(timedelta(seconds=30), "ok"), (timedelta(minutes=2), "warning"), (timedelta(1), "problem")],
)
async def test_a_job_that_nobody_does_shows_that_no_worker_is_there(
    settings: Settings, db: asyncpg.Connection, age: timedelta, status: str
) -> None:
    await add_job(db, age)
    found = (await examined(settings)).of("jobs")
    assert [each.status.value for each in found.listed] == [status]


async def add_job(db: asyncpg.Connection, age: timedelta, status: str = "queued") -> None:
    await db.execute(
        "INSERT INTO pgqueuer (priority, entrypoint, status, execute_after) "
        "VALUES (0, 'send_mail', $1, now() - $2::interval)",
        status,
        age,
    )


async def test_a_database_that_is_not_there_is_a_problem() -> None:
    found = await examined("postgresql://me:hunter2-secret@127.0.0.1:1/name")
    assert "127.0.0.1:1/name can't be used: ConnectionRefusedError" in found["problem"]
    assert "start the server" in found["problem"]


async def test_each_of_several_hosts_is_looked_at() -> None:
    found = await examined("postgresql://me@127.0.0.1:1,127.0.0.1:2/name")
    for host in ("127.0.0.1:1 can't be used", "127.0.0.1:2 can't be used"):
        assert host in found["problem"]


async def test_an_unknown_role_and_an_unknown_database_are_told_apart(database_url: str) -> None:
    nobody = await examined(as_role(database_url, "nobody_at_all"))
    assert "does not exist" in nobody["problem"]
    assert "correct the user or the password" in nobody["problem"]
    nowhere = await examined(database_url.replace("/test_", "/no_such_"))
    assert "create the database" in nowhere["problem"]


@contextmanager
def noted() -> Iterator[tuple[Findings, Found]]:
    found = Findings("noted")
    yield found, Found(found.listed)


@pytest.mark.parametrize(
    ("version", "status"), [(14, "problem"), (15, "ok"), (18, "ok"), (19, "warning")]
)
def test_only_versions_that_were_tested_are_well(version: int, status: str) -> None:
    with noted() as (found, seen):
        assert report_version("It", version, found) == (status != "problem")
    assert [each.status.value for each in seen.listed] == [status]


@pytest.mark.parametrize(("pool", "status"), [(10, "ok"), (40, "warning"), (100, "problem")])
def test_pools_that_do_not_fit_into_max_connections_are_found(pool: int, status: str) -> None:
    with noted() as (found, seen):
        report_capacity(100, 3, 1, pool, found)
    assert [each.status.value for each in seen.listed] == [status]
