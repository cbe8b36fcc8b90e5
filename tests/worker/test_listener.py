"""The worker's listener: it is there before it is checked, and again after a loss."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from structlog.testing import capture_logs

from service.db import migrations
from service.db.connecting import open_connection
from service.db.database import Database
from service.db.engine import create_engine
from service.jobs import queue
from service.posts import word_refresh
from service.settings import Settings
from service.testing.application import FAST, make_settings, working
from service.worker.driver import open_driver
from service.worker.liveness import Heartbeat
from service.worker.worker import WorkerTiming
from tests.support.client import Client
from tests.support.polling import until
from tests.support.postgres import Server, postgres_server, url_to
from tests.support.replication import replicated
from tests.support.smtp import SmtpServer

# Only a notification brings a job in time.
UNASKED = replace(FAST, poll=60, heartbeat_timeout=30)
LOSE_THE_LISTENER = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND query LIKE 'LISTEN%'
"""
LISTENS = "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() AND query "


async def test_check_of_the_listener_waits_until_the_worker_listens(settings: Settings) -> None:
    heard: asyncio.Queue[str | bytes | bytearray] = asyncio.Queue()
    async with open_driver(settings, asyncio.Event(), Heartbeat(None)) as driver:
        check = asyncio.create_task(driver.notify("channel", "check"))
        await driver.execute("SELECT 1")
        assert not check.done()
        await driver.add_listener("channel", heard.put_nowait)
        async with asyncio.timeout(15):
            await check
            while await heard.get() != "check":  # the first one says to look for jobs
                pass


async def test_statement_of_the_worker_is_the_last_thing_that_its_server_is_asked(
    settings: Settings, db: asyncpg.Connection
) -> None:
    # A reset after it would be silent with the server, and nobody would cut it off.
    async with open_driver(settings, asyncio.Event(), Heartbeat(None)) as driver:
        own = await driver.fetch("SELECT pg_backend_pid() AS pid")
        query = "SELECT query FROM pg_stat_activity WHERE pid = $1"
        assert await db.fetchval(query, own[0]["pid"]) == "SELECT pg_backend_pid() AS pid"


async def test_lost_listener_is_replaced_and_the_job_in_hand_is_done_once(
    client: Client, settings: Settings, smtp: SmtpServer, db: asyncpg.Connection
) -> None:
    smtp.may_answer.clear()
    with capture_logs() as lines:
        async with working(settings, UNASKED):
            await client.register()
            await smtp.has_data.wait()
            assert len(await db.fetch(LOSE_THE_LISTENER)) == 1
            await until(lambda: db.fetchval(f"{LISTENS} LIKE 'LISTEN%'"))
            smtp.may_answer.set()
            await client.register()
            await smtp.wait_for(2)
            await until(lambda: db.fetchval("SELECT count(*) = 0 FROM pgqueuer"))
    assert len(smtp.mails) == 2
    assert [line["event"] for line in lines].count("worker ready") == 1


@pytest.fixture
def postgres() -> Iterator[Server]:
    """A server of the test's own."""
    with postgres_server() as server:
        yield server


async def migrate(url: str) -> None:
    engine = create_engine(make_settings(database_url=url))
    await migrations.upgrade(engine)
    await engine.dispose()


async def jobs_done(settings: Settings) -> bool:
    connection = await open_connection(settings, timeout=5)
    try:
        return bool(await connection.fetchval("SELECT count(*) = 0 FROM pgqueuer"))
    finally:
        await connection.close()


async def enqueue(settings: Settings) -> None:
    database = Database(settings)
    async with database.transaction() as session:
        await queue.enqueue(session, word_refresh.REFRESH_JOB, {"after": None})
    await database.close()


@pytest.mark.proof
async def test_twenty_starts_listen_without_one_that_gives_up(
    settings: Settings, db: asyncpg.Connection
) -> None:
    with capture_logs() as lines:
        for _ in range(20):
            async with working(settings, WorkerTiming()):
                await until(lambda: db.fetchval(f"{LISTENS} LIKE 'LISTEN%'"))
    assert [line["event"] for line in lines] == ["worker ready"] * 20


@pytest.mark.proof
@pytest.mark.alone
@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_first_job_is_done_within_6_s_of_the_server_s_return(
    postgres: Server, tmp_path: Path, fault: str
) -> None:
    await migrate(postgres.url())
    settings = make_settings(database_url=postgres.url(), data_dir=tmp_path)
    async with working(settings, WorkerTiming()):
        await enqueue(settings)
        await until(lambda: jobs_done(settings))
        getattr(postgres, fault)()
        await asyncio.sleep(12)
        await asyncio.to_thread(postgres.start if fault == "kill" else postgres.thaw)
        assert await seconds_to_do_a_job(settings) < 6


@pytest.mark.proof
@pytest.mark.alone
@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_first_job_is_done_within_6_s_of_a_promotion(tmp_path: Path, fault: str) -> None:
    with replicated(synchronous_standby_names="*") as servers:
        primary, standby = servers
        await migrate(primary.url())
        settings = make_settings(database_url=url_to(*servers), data_dir=tmp_path)
        async with working(settings, WorkerTiming()):
            await enqueue(settings)
            await until(lambda: jobs_done(settings))
            getattr(primary, fault)()
            await asyncio.sleep(2)
            # Nothing follows the new primary, so that it must not wait for a standby.
            standby.reconfigure(synchronous_standby_names="")
            await asyncio.to_thread(standby.promote)
            assert await seconds_to_do_a_job(settings) < 6


async def seconds_to_do_a_job(settings: Settings) -> float:
    await enqueue(settings)
    began = time.monotonic()
    await until(lambda: jobs_done(settings))
    return time.monotonic() - began
