"""Jobs that failed, in a long queue and beside the clean-ups."""

import asyncio
import re

import asyncpg
import pytest

from service import clock
from service.db.database import Database
from service.jobs.failed import JobState, listing, retry_jobs
from service.jobs.queue import delete_old_records

PER_PAGE = 20


@pytest.mark.parametrize("state", [None, *JobState])
@pytest.mark.parametrize("reads_on", [False, True])
async def test_list_reads_the_records_of_its_own_jobs_only(
    db: asyncpg.Connection, state: JobState | None, reads_on: bool
) -> None:
    await db.execute("ALTER TABLE pgqueuer DISABLE TRIGGER USER")
    await db.execute(
        "INSERT INTO pgqueuer (priority, status, entrypoint, attempts) "
        "SELECT 0, (ARRAY['queued', 'failed'])[1 + n % 2]::pgqueuer_status, 'mail link', 3 "
        "FROM generate_series(1, 2000) AS n"
    )
    await db.execute(
        "INSERT INTO pgqueuer_log (job_id, status, priority, entrypoint, traceback) "
        """SELECT id, status, 0, entrypoint, '{"additional_context": {"reason": "none"}}' """
        "FROM pgqueuer"
    )
    await db.execute("ANALYZE pgqueuer, pgqueuer_log")
    statement = listing(state, reads_on=reads_on).text
    for name, value in ((":no_failures", "'{}'"), (":limit", PER_PAGE), (":after", 2**62)):
        statement = statement.replace(name, str(value))
    plan = [line for (line,) in await db.fetch(f"EXPLAIN (ANALYZE, TIMING off) {statement}")]
    looks = [
        int(found[1])
        for line in plan
        if " on pgqueuer_log" in line and (found := re.search(r"loops=(\d+)", line))
    ]
    assert PER_PAGE <= sum(looks) <= 2 * PER_PAGE


async def test_job_that_is_retried_during_a_clean_up_is_not_deleted(
    db: asyncpg.Connection, database: Database
) -> None:
    job_id = await db.fetchval(
        "INSERT INTO pgqueuer (priority, status, entrypoint, updated) "
        "VALUES (0, 'failed', 'mail link', now() - interval '100 days') RETURNING id"
    )

    async def clean_up() -> int:
        async with database.transaction() as session:
            return await delete_old_records(session, clock.now())

    async with database.transaction() as session:
        assert await retry_jobs(session, [job_id]) == 1
        async with asyncio.timeout(10):
            assert await clean_up() == 0
    assert await clean_up() == 0
    assert await db.fetchval("SELECT status::text FROM pgqueuer") == "queued"
