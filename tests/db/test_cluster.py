"""Which cluster the events belong to, and what a database from another one needs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from service.cli.database import connected, upgrade
from service.db.cluster import FROM_ANOTHER_CLUSTER, Adoption
from service.settings import Settings
from service.testing.application import make_settings
from tests.support.client import Client
from tests.support.command import Invoke
from tests.support.migrating import migrate

# As a managed database may do with a function about the files of a cluster.
REFUSED = """
CREATE FUNCTION refused(OUT system_identifier bigint) LANGUAGE plpgsql AS $$
BEGIN RAISE feature_not_supported; END $$
"""
DEFINITION = "SELECT pg_get_functiondef('cluster_identifier'::regproc)"
CHANGED = "UPDATE post_events_cluster SET system_identifier = system_identifier + 1"
UNKNOWN = "UPDATE post_events_cluster SET system_identifier = NULL"
NONE = "DELETE FROM post_events_cluster"
FUTURE = "INSERT INTO post_events (horizon, kind) VALUES (1::bigint << 40, 'post.deleted')"
SEQUENCES = ("pgqueuer_id_seq", "post_events_id_seq")


@pytest.fixture
async def denied(db: "asyncpg.Connection") -> AsyncIterator["asyncpg.Connection"]:
    """A connection of a role that may not ask for the cluster's identifier."""
    role = f"role_{uuid4().hex}"
    await db.execute(f"""
        REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC;
        CREATE ROLE {role};
        GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};
        SET ROLE {role}
    """)
    yield db
    await db.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize(
    ("change", "expected"),
    [("SELECT 1", False), (CHANGED, True), (UNKNOWN, False), (NONE, True), (FUTURE, True)],
    ids=["unchanged", "another identifier", "unknown", "no identifier", "future"],
)
async def test_events_of_another_cluster_are_recognized(
    db: "asyncpg.Connection", change: str, expected: bool
) -> None:
    await db.execute(change)
    assert await db.fetchval(FROM_ANOTHER_CLUSTER) is expected


async def test_identifier_that_nobody_may_ask_for_is_unknown(db: "asyncpg.Connection") -> None:
    await db.execute(REFUSED)
    definition: str = await db.fetchval(DEFINITION)
    # The server calls its own functions by their numbers, whatever the catalog says.
    await db.execute(definition.replace("pg_control_system()", "refused()"))
    assert await db.fetchval("SELECT cluster_identifier()") is None
    assert await db.fetchval(FROM_ANOTHER_CLUSTER) is False


@pytest.mark.parametrize(
    ("change", "expected"),
    [("SELECT 1", False), (CHANGED, False), (NONE, True), (FUTURE, True)],
    ids=["unchanged", "another identifier", "no identifier", "future"],
)
async def test_events_of_another_cluster_are_recognized_without_its_identifier(
    denied: "asyncpg.Connection", change: str, expected: bool
) -> None:
    assert await denied.fetchval("SELECT cluster_identifier()") is None
    await denied.execute(change)
    assert await denied.fetchval(FROM_ANOTHER_CLUSTER) is expected


async def test_migrating_records_an_identifier_that_it_could_not_ask_for_before(
    db: "asyncpg.Connection", settings: Settings
) -> None:
    await db.execute(UNKNOWN)
    assert not (await upgrade(settings)).adoption.events_begun_anew
    recorded = await db.fetchval("SELECT system_identifier FROM post_events_cluster")
    assert recorded == await db.fetchval("SELECT system_identifier FROM pg_control_system()")


async def test_migrating_sets_sequences_past_the_ids_of_their_tables(
    client: Client, db: "asyncpg.Connection", database_url: str, invoke: Invoke
) -> None:
    author = await client.sign_up()
    post = {"title": "A title", "content": "Some content"}
    assert (await author.post("/api/posts", post)).status == 201
    # As logical replication leaves them.
    for sequence in SEQUENCES:
        await db.execute(f"SELECT setval('{sequence}', 1, false)")
    await db.execute(CHANGED)
    result = await asyncio.to_thread(invoke, "migrate", database_url=database_url)
    assert result.stdout.splitlines() == [
        "The schema is at head already.",
        "The events of posts belonged to another database cluster: they begin anew.",
        "Set past the ids of their tables: pgqueuer_id_seq.",
    ]
    assert (await client.register()).status == 201
    assert (await author.post("/api/posts", post)).status == 201


@pytest.mark.parametrize(("change", "expected"), [("SELECT 1", False), (FUTURE, True)])
async def test_migration_takes_events_of_the_future_for_another_cluster_s(
    db: "asyncpg.Connection", database_url: str, change: str, expected: bool
) -> None:
    await migrate(database_url, "0011", down=True)
    await db.execute(change)
    await migrate(database_url, "0012")
    assert await db.fetchval(FROM_ANOTHER_CLUSTER) is expected


async def test_each_schema_of_a_database_keeps_a_cluster_of_its_own(
    empty_url: str, tmp_path: Path
) -> None:
    here, there = (
        make_settings(database_url=empty_url, database_schema=name, data_dir=tmp_path)
        for name in ("My-service", "other")
    )
    for settings in (here, there):
        assert not (await upgrade(settings)).adoption.events_begun_anew
    async with connected(here) as connection:
        await connection.execute(CHANGED)
        await connection.execute(
            "INSERT INTO pgqueuer_statistics VALUES (7, now(), 1, 0, 'queued', '')"
        )
    assert not (await upgrade(there)).adoption.events_begun_anew
    adopted = Adoption(events_begun_anew=True, sequences=["pgqueuer_statistics_id_seq"])
    assert (await upgrade(here)).adoption == adopted
    assert (await upgrade(here)).adoption == Adoption(events_begun_anew=False, sequences=[])
