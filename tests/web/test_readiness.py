"""Readiness names why a database that answers cannot be used."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from service import embedded_postgres
from service.testing.application import make_settings, running
from service.testing.database import Databases
from tests.support import tls_postgres
from tests.support.client import Client, refused
from tests.support.embedded import guard, postmaster_pid
from tests.support.forwarding import forwarding
from tests.support.polling import until

PASSWORD = "hunter2-is-secret"
NO_RIGHTS = "the database's role lacks rights on table alembic_version"
NOT_LET_IN = "the database does not let its role connect from here"
REFUSED = "the database refuses the user or the password of DATABASE_URL"
NONE_LEFT = "the database has no connection left"
NO_DATABASE = "there is no such database as DATABASE_URL names"
LACKS = "the database lacks what this code needs: "


async def reason(client: Client) -> str:
    """Why the service is not ready."""
    message: str = refused(await client.get("/health/ready"), 503)["message"]
    return message.removeprefix("Not ready: ")


async def reason_at(url: str, folder: Path) -> str:
    """Why a service with this DATABASE_URL is not ready."""
    async with running(make_settings(database_url=url, data_dir=folder)) as app:
        return await reason(Client(app))


@pytest.fixture
async def role(db: "asyncpg.Connection") -> AsyncIterator[str]:
    """A role of this test's own, which has no rights."""
    name = f"r_{await db.fetchval('SELECT current_database()')}"
    await db.execute(f"CREATE ROLE {name} LOGIN")
    yield name
    await db.execute(f"DROP ROLE {name}")


@pytest.mark.parametrize(
    ("change", "expected"),
    [("LOGIN", NO_RIGHTS), ("NOLOGIN", NOT_LET_IN), ("CONNECTION LIMIT 0", NONE_LEFT)],
)
async def test_readiness_names_what_the_database_refuses_to_its_role(
    role: str, db: "asyncpg.Connection", database_url: str, tmp_path: Path,
    change: str, expected: str,
) -> None:  # fmt: skip
    await db.execute(f"ALTER ROLE {role} {change}")
    url = database_url.replace("service@", f"{role}@")
    assert await reason_at(url, tmp_path) == expected


@pytest.mark.parametrize(
    ("harm", "missing"),
    [
        ("DROP TABLE post_events_cluster", 'relation "post_events_cluster" does not exist'),
        ("ALTER TABLE post_events RENAME horizon TO h", 'column "horizon" does not exist'),
        ("DROP FUNCTION cluster_identifier", "function cluster_identifier() does not exist"),
    ],
)
async def test_readiness_names_what_is_missing_from_a_schema_at_head(
    client: Client, db: "asyncpg.Connection", harm: str, missing: str
) -> None:
    await db.execute(harm)
    assert await reason(client) == LACKS + missing


async def test_readiness_names_any_other_error_by_its_state(
    client: Client, db: "asyncpg.Connection"
) -> None:
    await db.execute(
        "CREATE OR REPLACE FUNCTION cluster_identifier() RETURNS bigint LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE division_by_zero; END $$"
    )
    assert await reason(client) == "the database answers with an error (SQLSTATE 22012)"


async def test_readiness_says_that_there_is_no_such_database(
    service_databases: Databases, tmp_path: Path
) -> None:
    url = service_databases.server.url("not_there")
    assert await reason_at(url, tmp_path) == NO_DATABASE


async def test_readiness_names_the_reason_of_the_host_that_answers(
    database_url: str, tmp_path: Path
) -> None:
    async with forwarding(database_url) as port:
        url = f"postgresql://service@127.0.0.1:1,127.0.0.1:{port}/not_there"
        assert await reason_at(url, tmp_path) == NO_DATABASE


async def test_readiness_says_that_tls_fails(tmp_path: Path) -> None:
    with tls_postgres.answering(tls_postgres.refuse) as port:
        url = f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/name?sslmode=require"
        assert await reason_at(url, tmp_path) == "TLS with the database fails"


async def test_readiness_distinguishes_a_wrong_password_from_a_server_that_stops(
    tmp_path: Path,
) -> None:
    with embedded_postgres.start(tmp_path / "guarded", durable=False) as server:
        url = await guard(server, PASSWORD)
        held = await asyncpg.connect(server.url())  # which a smart shutdown waits for
        async with running(make_settings(database_url=url, data_dir=tmp_path)) as app:
            client = Client(app)
            assert await reason(client) == REFUSED

            async def stops() -> bool:
                return await reason(client) == "the database is starting or stopping"

            os.kill(postmaster_pid(server.data_dir), signal.SIGTERM)
            await until(stops)
        await held.close()
