"""The queue: a job belongs to the transaction that enqueues it."""

import re

import asyncpg
import pytest

from service.db.database import Database
from service.jobs.queue import WAITS, enqueue
from service.worker.handlers import MAILS
from tests.support.client import Client
from tests.support.scrape import scrape

WAITING = "SELECT count(*) FROM pgqueuer"


async def test_rolled_back_transaction_enqueues_no_job(
    database: Database, db: asyncpg.Connection
) -> None:
    # Enqueued as the first statement of a session: nothing has begun a transaction yet.
    async with database.session() as session:
        await enqueue(session, "anything", {})
        assert await db.fetchval(WAITING) == 0
        await session.rollback()
    assert await db.fetchval(WAITING) == 0


async def test_committed_transaction_enqueues_its_job(
    database: Database, db: asyncpg.Connection
) -> None:
    async with database.session() as session:
        await enqueue(session, "anything", {"a": 1}, to="ann@example.com")
        await session.commit()
    row = await db.fetchrow("SELECT * FROM pgqueuer")
    assert row is not None
    assert (row["entrypoint"], row["payload"]) == ("anything", b'{"a": 1}')


async def test_enqueueing_in_autocommit_is_refused(
    database: Database, db: asyncpg.Connection
) -> None:
    async with database.read_session() as session:
        with pytest.raises(RuntimeError, match="autocommit"):
            await enqueue(session, "anything", {})
    assert await db.fetchval(WAITING) == 0


ADD = (
    "INSERT INTO pgqueuer (priority, status, entrypoint, created, execute_after) "
    "VALUES (0, $1, $2, now() - $3 * interval '1 second', now() - $4 * interval '1 second')"
)
# State, name, age, and for how long it has been due.
MAIL = ("queued", "mail link", 900, 60)
WAITING_MAIL = ("queued", "notice", 800, -60)
MAIL_IN_HAND = ("picked", "notice", 1000, 500)
REFUSED_MAIL = ("failed", "notice", 5000, 5000)
OF_ANOTHER_RELEASE = ("queued", "zzz", 300, 300)


@pytest.mark.parametrize(
    ("jobs", "due", "mail"),
    [
        ([], 0, 0),
        ([MAIL], 60, 900),
        ([WAITING_MAIL], 0, 800),
        ([MAIL, MAIL_IN_HAND, WAITING_MAIL], 60, 1000),
        ([REFUSED_MAIL], 0, 0),
        ([OF_ANOTHER_RELEASE, MAIL], 300, 900),
    ],
)
async def test_waits_of_the_oldest_job_that_is_due_and_of_the_oldest_mail_are_measured(
    client: Client,
    db: asyncpg.Connection,
    jobs: list[tuple[str, str, int, int]],
    due: float,
    mail: float,
) -> None:
    await db.executemany(ADD, jobs)
    found = await scrape(client)
    # The statement itself took some of these seconds.
    assert due <= found.value("jobs_oldest_due_seconds") < due + 30
    assert mail <= found.value("mails_oldest_seconds") < mail + 30


async def test_waits_are_found_by_indexes_in_a_long_queue(db: asyncpg.Connection) -> None:
    await db.execute("ALTER TABLE pgqueuer DISABLE TRIGGER USER")
    await db.execute(
        "INSERT INTO pgqueuer (priority, status, entrypoint) "
        "SELECT 0, (ARRAY['queued', 'failed'])[1 + n % 2]::pgqueuer_status, "
        "(ARRAY['mail link', 'notice', 'other'])[1 + n % 3] FROM generate_series(1, 20000) AS n"
    )
    await db.execute("ANALYZE pgqueuer")
    names = ", ".join(f"'{name}'" for name in MAILS)
    statement = WAITS.text.replace(":mails", f"ARRAY[{names}]")
    plan = [line for (line,) in await db.fetch(f"EXPLAIN (ANALYZE, TIMING off) {statement}")]
    scans = [line for line in plan if " on pgqueuer" in line]
    assert scans
    assert [line for line in scans if "using pgqueuer_" not in line] == []
    # One row of each index that is entered, and not the thousands of a name.
    read = [float(found[1]) for line in scans if (found := re.search(r"actual rows=(\S+)", line))]
    assert max(read) <= 1
