"""The clean-ups: at their time, once, and one in spite of another."""

from datetime import UTC, datetime

import asyncpg
import pytest

from service import clock
from service.accounts.recovery import links
from service.audit import events
from service.db.database import Database
from service.jobs import queue
from service.jobs.context import JobContext
from service.settings import Settings
from service.testing.application import working
from service.testing.client import PASSWORD
from service.worker import cleanup, handlers, worker
from tests.support.client import Client
from tests.support.polling import until

WAITING = "SELECT count(*) FROM pgqueuer"


async def test_two_workers_run_a_cleanup_once(
    settings: Settings, db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[datetime] = []

    async def clean_up(_tools: JobContext, _deleted: object) -> None:
        runs.append(datetime.now(UTC))

    monkeypatch.setattr(worker, "clean_up", clean_up)
    # Due since a while, when nobody was there.
    await db.execute(
        "INSERT INTO pgqueuer_schedules (expression, entrypoint, next_run) "
        "VALUES ($1, 'cleanup', now() - interval '1 minute')",
        cleanup.CLEANUP_TIMES,
    )
    listening = "SELECT count(*) = 2 FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
    async with working(settings), working(settings):
        await until(lambda: db.fetchval(f"{listening} AND datname = current_database()"))
        await until(lambda: db.fetchval("SELECT last_run FROM pgqueuer_schedules"))
    assert len(runs) == 1
    assert await db.fetchval("SELECT next_run > now() FROM pgqueuer_schedules")


async def test_cleanup_deletes_what_is_past_its_time(
    settings: Settings, database: Database, client: Client, db: asyncpg.Connection
) -> None:
    await client.register()
    await client.register()
    await db.execute(
        "UPDATE mail_links SET created_at = now() - interval '9 days' "
        "WHERE id = (SELECT id FROM mail_links LIMIT 1)"
    )
    await db.execute("UPDATE pgqueuer_log SET created = now() - interval '31 days'")
    await db.execute(
        "UPDATE pgqueuer SET status = 'failed', updated = now() - interval '91 days' "
        "WHERE id = (SELECT max(id) FROM pgqueuer)"
    )
    await db.execute(
        "UPDATE security_events SET created_at = now() - interval '366 days' "
        "WHERE id = (SELECT id FROM security_events LIMIT 1)"
    )
    await cleanup.clean_up(JobContext(settings, database, mailer=NoMailer()))
    assert await db.fetchval("SELECT count(*) FROM security_events") == 1
    assert await db.fetchval("SELECT count(*) FROM mail_links") == 1
    assert await db.fetchval("SELECT count(*) FROM pgqueuer_log") == 0
    assert await db.fetchval(WAITING) == 1


async def test_backlogs_are_deleted_in_batches(
    settings: Settings,
    database: Database,
    client: Client,
    db: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of one row, so that a clean-up that deletes all at once is seen."""
    for module in (links, queue, events):
        monkeypatch.setattr(module, "CLEANUP_BATCH", 1)
    retired = await client.sign_up()
    await client.sign_up()
    await retired.delete("/auth/me", {"password": PASSWORD})
    await db.execute("UPDATE mail_links SET created_at = now() - interval '9 days'")
    await db.execute("UPDATE pgqueuer_log SET created = now() - interval '31 days'")
    await db.execute(
        "UPDATE users SET deleted_at = now() - interval '31 days' WHERE id = $1", retired.user["id"]
    )
    found = handlers.cleanups(settings)
    for name in ("mail links", "job records", "accounts in security events"):
        async with database.transaction() as session:
            assert await found[name](session, clock.now()) == 1, name
    await cleanup.clean_up(JobContext(settings, database, mailer=NoMailer()))
    assert await db.fetchval("SELECT count(*) FROM mail_links") == 0
    assert await db.fetchval("SELECT count(*) FROM pgqueuer_log") == 0
    assert await db.fetchval("SELECT count(*) FROM users") == 1


async def test_failing_cleanup_does_not_stop_the_others(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []

    async def broken(_session: object, _now: datetime) -> int:
        raise RuntimeError("broken")

    async def sound(_session: object, _now: datetime) -> int:
        ran.append(1)
        return 3 - len(ran)  # two, one, none

    found: dict[str, handlers.Cleanup] = {"broken": broken, "sound": sound}
    monkeypatch.setattr(cleanup, "cleanups", lambda _settings: found)
    await cleanup.clean_up(JobContext(settings, database, mailer=NoMailer()))
    assert len(ran) == 3


class NoMailer:
    """Fails a test that sends mail."""

    async def send(self, mail: object) -> None:
        raise AssertionError("clean-ups send no mail")
