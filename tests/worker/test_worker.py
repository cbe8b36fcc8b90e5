"""The worker: no job is lost, whatever stops."""

import asyncio
import itertools
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg
import pytest
from structlog.testing import capture_logs

from service.db.database import Database
from service.db.schema_version import head_revision
from service.jobs.failed import retry_jobs
from service.settings import PROJECT, Settings
from service.testing.application import FAST, working
from service.testing.mails import token
from service.worker import worker
from service.worker.driver import PatientDriver, open_pool
from service.worker.worker import WorkerTiming
from tests.support.client import Client
from tests.support.command import PRODUCTION, environment
from tests.support.jobs import failed_jobs, retried_jobs
from tests.support.lost_connection import LostWhenCancelled, ends
from tests.support.polling import PATIENCE, until
from tests.support.smtp import SmtpServer

WAITING = "SELECT count(*) FROM pgqueuer"
LOSE_THE_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def registered(client: Client) -> Callable[[], Awaitable[bool]]:
    async def try_it() -> bool:
        return (await client.register()).status == 201

    return try_it


async def holds(items: list[str]) -> bool:
    return bool(items)


@asynccontextmanager
async def worker_process(settings: Settings) -> AsyncIterator[Process]:
    """`service worker`, as it runs in production."""
    values = {**PRODUCTION, "database_url": settings.database_dsn, "smtp_url": settings.mail_url}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "worker"),
        env=environment(**values),
        cwd=PROJECT,
        stdin=DEVNULL,
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


class TestDelivery:
    async def test_mails_wait_for_a_mail_server_that_is_down(
        self, client: Client, settings: Settings, smtp: SmtpServer, db: asyncpg.Connection
    ) -> None:
        await smtp.down()
        async with working(settings):
            me = await client.sign_up()
            for _ in range(3):
                assert (await me.post("/auth/email/verify/resend")).status == 202
            tried = "SELECT count(*) FROM pgqueuer WHERE attempts > 1"
            await until(lambda: db.fetchval(tried))
            await smtp.up()
            await smtp.wait_for(4)
            await until(lambda: db.fetchval(f"SELECT ({WAITING}) = 0"))
        # Once each, in the order in which they were asked for.
        asked = await db.fetch("SELECT id FROM mail_links ORDER BY created_at")
        arrived = [mail["Message-ID"][1:37] for mail in smtp.mails]
        assert arrived == [str(row["id"]) for row in asked]

    async def test_mail_that_waits_does_not_hold_up_other_addresses(
        self, client: Client, settings: Settings, smtp: SmtpServer, db: asyncpg.Connection
    ) -> None:
        smtp.refusals["slow@example.com"] = "450 mailbox busy"
        async with working(settings):
            await client.register(email="slow@example.com")
            await client.register(email="quick@example.com")
            [mail] = await smtp.wait_for(1)
            assert mail["To"] == "quick@example.com"
            smtp.refusals.clear()
            await smtp.wait_for(2)

    @pytest.mark.proof
    async def test_job_of_a_killed_worker_is_done_by_another(
        self, client: Client, settings: Settings, smtp: SmtpServer, db: asyncpg.Connection
    ) -> None:
        smtp.may_answer.clear()
        async with worker_process(settings) as process:
            await client.register(email="ann@example.com")
            async with asyncio.timeout(PATIENCE):
                await smtp.has_data.wait()
            process.kill()
            await process.wait()
        assert await db.fetchval("SELECT status::text FROM pgqueuer") == "picked"
        assert smtp.mails == []
        smtp.may_answer.set()
        async with working(settings):
            [mail] = await smtp.wait_for(1)
            await until(lambda: db.fetchval(f"SELECT ({WAITING}) = 0"))
        assert len(smtp.mails) == 1
        assert (await client.post("/auth/email/verify", {"token": token(mail)})).status == 204

    @pytest.mark.parametrize(
        "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.proof)]
    )
    async def test_worker_finishes_its_job_at_a_signal(
        self, client: Client, settings: Settings, smtp: SmtpServer, db: asyncpg.Connection,
        number: signal.Signals,
    ) -> None:  # fmt: skip
        smtp.may_answer.clear()
        async with worker_process(settings) as process:
            await client.register()
            async with asyncio.timeout(PATIENCE):
                await smtp.has_data.wait()
            process.send_signal(number)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(process.wait(), 0.5)
            smtp.may_answer.set()
            async with asyncio.timeout(PATIENCE):
                assert await process.wait() == 0
        assert len(smtp.mails) == 1
        assert await db.fetchval(WAITING) == 0

    async def test_cancelled_worker_requeues_its_job(
        self, client: Client, settings: Settings, smtp: SmtpServer, db: asyncpg.Connection
    ) -> None:
        smtp.may_answer.clear()
        async with working(settings) as task:
            await client.register()
            await smtp.has_data.wait()
            task.cancel()
            await asyncio.wait([task])
        assert await db.fetchval(WAITING) == 1
        smtp.may_answer.set()
        async with working(settings):
            await smtp.wait_for(1)

    async def test_mail_is_sent_once_although_the_database_restarts(
        self, client: Client, settings: Settings, smtp: SmtpServer, db: asyncpg.Connection
    ) -> None:
        smtp.may_answer.clear()
        async with working(settings, replace(FAST, heartbeat_timeout=30)):
            await client.register()
            await smtp.has_data.wait()
            # What a restart does to connections.
            await db.execute(LOSE_THE_OTHERS)
            smtp.may_answer.set()
            await until(lambda: db.fetchval(f"SELECT ({WAITING}) = 0"))
            # The application's own connections are gone too: its first answer may be a 503.
            await until(registered(client))
            await smtp.wait_for(2)
        assert len(smtp.mails) == 2

    async def test_worker_s_statements_survive_connections_lost_at_any_moment(
        self, settings: Settings, db: asyncpg.Connection
    ) -> None:
        fetched = asyncio.Event()
        async with open_pool(settings) as pool:
            driver = PatientDriver(pool, asyncio.Event())

            async def fetch() -> None:
                for number in itertools.count():
                    assert await driver.fetch("SELECT $1::int AS n", number) == [{"n": number}]
                    fetched.set()

            async with asyncio.TaskGroup() as group:
                fetching = [group.create_task(fetch()) for _ in range(2)]
                for _ in range(30):
                    fetched.clear()
                    await fetched.wait()
                    await db.execute(LOSE_THE_OTHERS)
                for task in fetching:
                    task.cancel()

    async def test_worker_cancelled_as_its_connection_is_lost_ends(
        self, settings: Settings
    ) -> None:
        call = LostWhenCancelled()
        async with open_pool(settings) as pool:
            driver = PatientDriver(pool, asyncio.Event())
            asking = asyncio.create_task(driver._persist(call))
            await call.asked.wait()
            asking.cancel()
            assert await ends(asking)
            assert asking.cancelled()


class TestFailures:
    async def test_permanently_refused_mail_is_kept_and_listed(
        self,
        client: Client,
        settings: Settings,
        smtp: SmtpServer,
        db: asyncpg.Connection,
        database: Database,
    ) -> None:
        smtp.refusals["ann@example.com"] = "550 no such user here"
        async with working(settings):
            await client.register(email="ann@example.com")
            await until(lambda: failed_jobs(database))
            [job] = await failed_jobs(database)
            assert job.kind == "mail link"
            assert "no such user here" in job.reason
            assert await db.fetchval("SELECT attempts FROM pgqueuer") == 0
            smtp.refusals.clear()
            async with database.transaction() as session:
                assert await retry_jobs(session, [job.id]) == 1
            await smtp.wait_for(1)
        assert await failed_jobs(database) == []

    async def test_first_failure_of_a_mail_is_logged_and_listed_with_what_mends_it(
        self,
        client: Client,
        settings: Settings,
        smtp: SmtpServer,
        db: asyncpg.Connection,
        database: Database,
    ) -> None:
        await smtp.down()
        with capture_logs() as lines:
            async with working(settings):
                await client.register()
                await until(lambda: retried_jobs(database))
        [job] = await retried_jobs(database)
        assert await failed_jobs(database) == []
        first = next(line for line in lines if line["event"] == "job failed, trying again")
        for reason in (job.reason, first["reason"]):
            assert f"No mail server answers at 127.0.0.1:{smtp.port}" in reason
            assert "SMTP_URL" in reason
        assert job.kind == "mail link"
        assert job.attempts >= 1

    async def test_job_that_only_waited_is_not_listed_as_failed(
        self,
        client: Client,
        settings: Settings,
        smtp: SmtpServer,
        db: asyncpg.Connection,
        database: Database,
    ) -> None:
        smtp.may_answer.clear()
        async with working(settings) as work:
            await client.register()
            await smtp.has_data.wait()
            work.cancel()  # the job goes back
        assert await db.fetchval("SELECT attempts FROM pgqueuer") == 1
        assert await retried_jobs(database) == []

    async def test_job_whose_return_to_the_queue_was_not_confirmed_is_done(
        self, client: Client, settings: Settings, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        execute = PatientDriver.execute
        lost: list[str] = []

        async def lose_the_answer(self: PatientDriver, query: str, *args: object) -> str:
            answer = await execute(self, query, *args)
            if "WITH retry" in query and not lost:
                lost.append(answer)
                raise ConnectionResetError
            return answer

        monkeypatch.setattr(PatientDriver, "execute", lose_the_answer)
        smtp.refusals["ann@example.com"] = "450 mailbox busy"
        async with working(settings):
            await client.register(email="ann@example.com")
            await until(lambda: holds(lost))
            smtp.refusals.clear()
            await smtp.wait_for(1)

    async def test_attempts_at_a_job_are_bounded(
        self,
        client: Client,
        settings: Settings,
        smtp: SmtpServer,
        db: asyncpg.Connection,
        database: Database,
    ) -> None:
        await smtp.down()
        async with working(settings, replace(FAST, attempts=3)):
            await client.register()
            await until(lambda: failed_jobs(database))
            [job] = await failed_jobs(database)
        assert "SMTPConnectError" in job.reason
        assert await db.fetchval("SELECT attempts FROM pgqueuer") == 2

    def test_waits_between_attempts_grow_up_to_a_bound(self) -> None:
        pace = WorkerTiming()
        for attempts, longest in ((0, 1), (1, 2), (5, 32), (12, 3600), (80, 3600), (5000, 3600)):
            for _ in range(20):
                assert longest / 2 <= pace.wait(attempts).total_seconds() <= longest
        days = sum(pace.wait(attempts).total_seconds() for attempts in range(pace.attempts)) / 86400
        assert 1.5 < days < 3.5

    async def test_worker_waits_for_the_schema(
        self, settings: Settings, smtp: SmtpServer, client: Client, db: asyncpg.Connection,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr(worker, "SCHEMA_WAIT", 0.05)
        await db.execute("UPDATE alembic_version SET version_num = '0001'")
        await client.register()
        async with working(settings):
            with pytest.raises(TimeoutError):
                await smtp.wait_for(1, seconds=0.5)
            head = head_revision()
            await db.execute("UPDATE alembic_version SET version_num = $1", head)
            await smtp.wait_for(1)
