"""Standbys and read replicas, as `service doctor` finds them."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from service.doctor import database, replica
from service.doctor.findings import Findings
from service.embedded_postgres import start
from service.testing.application import make_settings
from service.testing.database import Databases
from tests.support.doctor import Found, look
from tests.support.embedded import guard
from tests.support.polling import until
from tests.support.postgres import Server, postgres_server, url_to
from tests.support.replication import migrate


async def at(url: str) -> Found:
    return await look(database.check, make_settings(database_url=url), embedded=True)


async def read_at(primary: str, replica_url: str, **settings: object) -> Found:
    settings = {"database_url": primary, "database_replica_url": replica_url, **settings}
    return await look(replica.check, make_settings(**settings))


@pytest.mark.parametrize(
    ("lag", "streams", "status"), [(0.5, True, "ok"), (3, True, "warning"), (0, False, "warning")]
)
def test_a_standby_that_is_behind_is_a_warning(lag: float, streams: bool, status: str) -> None:
    found = Findings("lag")
    replica.report_lag("It", lag, streams, 1, found)
    assert [each.status.value for each in found.listed] == [status]


async def test_a_primary_is_no_replica(database_url: str) -> None:
    found = await read_at(database_url, database_url)
    assert "is no standby, and is not read" in found["problem"]


async def test_a_replica_that_is_away_is_a_problem(database_url: str) -> None:
    found = await read_at(database_url, "postgresql://me@127.0.0.1:1,127.0.0.1:2/name")
    assert "127.0.0.1:1 can't be used" in found["problem"]
    assert "127.0.0.1:2 can't be used" in found["problem"]


async def test_without_a_replica_nothing_is_asked(database_url: str) -> None:
    found = await look(replica.check, make_settings(database_url=database_url))
    assert found["skipped"]


@pytest.mark.proof
async def test_standbys_are_found_on_both_sides(pair: tuple[Server, Server]) -> None:
    primary, standby = pair
    both = await at(url_to(*pair))
    assert f"{primary.host} answers: a primary" in both["ok"]
    assert f"{standby.host} answers: a standby" in both["ok"]
    assert "streaming, async" in both.of("standbys")["ok"]
    assert both.is_well
    alone = await at(standby.url())
    assert "its server is a standby" in alone["problem"]
    swapped = await at(url_to(standby, primary))
    assert swapped.is_well
    well = await read_at(primary.url(), standby.url())
    assert well.is_well
    assert "is a standby of this cluster" in well["ok"]


@pytest.mark.proof
async def test_a_synchronous_standby_that_is_away_is_a_problem(pair: tuple[Server, Server]) -> None:
    primary, _ = pair
    primary.reconfigure(synchronous_standby_names="elsewhere")
    try:

        async def waits() -> bool:
            return "every write waits" in (await at(primary.url())).of("standbys")["problem"]

        await until(waits)
        primary.reconfigure(synchronous_standby_names="*")

        async def is_well() -> bool:
            found = (await at(primary.url())).of("standbys")
            return found.is_well and "streaming, sync" in found["ok"]

        await until(is_well)
    finally:
        primary.reconfigure(synchronous_standby_names="")


@pytest.mark.proof
async def test_a_standby_of_another_cluster_is_a_problem(
    pair: tuple[Server, Server], database_url: str
) -> None:
    found = await read_at(database_url, pair[1].url())
    assert "a standby of another cluster" in found["problem"]


@pytest.mark.proof
async def test_a_standby_whose_replay_is_held_up_is_a_warning(pair: tuple[Server, Server]) -> None:
    primary, standby = pair
    writer, holder = await asyncpg.connect(primary.url()), await asyncpg.connect(standby.url())
    try:
        await holder.execute("SELECT pg_wal_replay_pause()")
        await writer.execute("CREATE TABLE written AS SELECT 1 AS number")

        async def is_behind() -> bool:
            found = await read_at(primary.url(), standby.url(), database_replica_max_lag=0.25)
            return "s behind, more than DATABASE_REPLICA_MAX_LAG" in found["warning"]

        await until(is_behind)
    finally:
        await holder.execute("SELECT pg_wal_replay_resume()")
        await writer.execute("DROP TABLE written")
        await writer.close()
        await holder.close()


@pytest.mark.proof
async def test_a_wrong_password_is_a_problem_without_the_password(tmp_path: Path) -> None:
    with start(tmp_path, durable=False) as server:
        found = await at(await guard(server, "hunter2-is-secret"))
    assert "password authentication failed" in found["problem"]
    assert "correct the user or the password" in found["problem"]
    assert "hunter2" not in found["problem"]


@pytest.mark.proof
async def test_indexes_of_an_older_collation_are_a_problem(icu_databases: Databases) -> None:
    options = "LOCALE_PROVIDER icu ICU_LOCALE 'de' TEMPLATE template0"
    with icu_databases.database(options=options) as made:
        assert "its encoding is UTF8" in (await at(made.url)).of("database")["ok"]
        db = await asyncpg.connect(made.url)
        await db.execute(
            "UPDATE pg_database SET datcollversion = '1' WHERE datname = current_database()"
        )
        found = await at(made.url)
        assert "indexes were made with 1: they may miss rows" in found["problem"]
        name = await db.fetchval("SELECT current_database()")
        await db.execute(f"ALTER DATABASE {name} REFRESH COLLATION VERSION")
        await db.close()
        assert (await at(made.url)).of("database").is_well


@pytest.mark.proof
async def test_a_frozen_server_is_a_finding_in_time() -> None:
    with postgres_server() as server:
        await migrate(server.url())
        server.freeze()
        try:
            async with asyncio.timeout(10):
                found = await at(server.url())
        finally:
            server.thaw()
        assert "can't be used" in found["problem"]
        assert (await at(server.url())).is_well
