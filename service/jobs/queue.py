"""The job queue: rows of pgqueuer, written in the transaction that causes them.

A job exists when, and only when, that transaction commits. Delivery is at least once: a handler
that was killed runs again, so it must be fit to run twice.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from pgqueuer.adapters.persistence.qb import (
    DBSettings,
    QueryBuilderEnvironment,
    QueryQueueBuilder,
    QuerySchedulerBuilder,
)
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.types import Channel
from pgqueuer.ports.driver import Driver
from sqlalchemy import CursorResult, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from service.db.database import Database, execute_count
from service.observability import propagation
from service.observability.histogram import Labels
from service.observability.metrics import Metrics

RECORDS_KEPT: Final = timedelta(days=30)
FAILED_KEPT: Final = timedelta(days=90)
COUNTED_MAX: Final = 100_000
CLEANUP_BATCH: Final = 5_000
# Waiting (for a worker, or their time), in a worker's hands, failed for good.
STATES: Final = (("queued",), ("picked",), ("failed",))

# Of each name that has queued jobs (found one after the other, since a release before or after this
# one has others) the one that is due first; and of each kind of mail the one that came first.
WAITS: Final = text(
    """
WITH RECURSIVE names AS (
    (SELECT entrypoint AS name FROM pgqueuer WHERE status = 'queued' ORDER BY entrypoint LIMIT 1)
    UNION ALL
    SELECT (
        SELECT entrypoint FROM pgqueuer WHERE status = 'queued' AND entrypoint > names.name
        ORDER BY entrypoint LIMIT 1
    ) FROM names WHERE names.name IS NOT NULL
), due AS (
    SELECT first.execute_after AS since FROM names CROSS JOIN LATERAL (
        SELECT execute_after FROM pgqueuer WHERE status = 'queued' AND entrypoint = names.name
        ORDER BY execute_after LIMIT 1
    ) AS first
), mails AS (
    SELECT first.created AS since FROM unnest(CAST(:mails AS text[])) AS name CROSS JOIN LATERAL (
        SELECT created FROM pgqueuer WHERE status = 'queued' AND entrypoint = name
        ORDER BY priority DESC, id LIMIT 1
    ) AS first
    UNION ALL
    SELECT created FROM pgqueuer WHERE status = 'picked' AND entrypoint = ANY(:mails)
)
SELECT
    greatest(extract(epoch FROM now() - (SELECT min(since) FROM due))::float, 0) AS jobs,
    greatest(extract(epoch FROM now() - (SELECT min(since) FROM mails))::float, 0) AS mails
"""
)

# Every name is given: pgqueuer would read those left out from environment variables as common as
# CHANNEL or TRIGGER.
NAMES: Final = DBSettings(
    prefix="",
    db_schema=None,
    channel=Channel("ch_pgqueuer"),
    function="fn_pgqueuer_changed",
    statistics_table="pgqueuer_statistics",
    queue_status_type="pgqueuer_status",
    queue_table="pgqueuer",
    queue_table_log="pgqueuer_log",
    trigger="tg_pgqueuer_changed",
    schedules_table="pgqueuer_schedules",
)


def make_queries(driver: Driver, kind: type[Queries] = Queries) -> Queries:
    """Make pgqueuer's queries over a driver."""
    return kind(
        driver,
        qbe=QueryBuilderEnvironment(NAMES),
        qbq=QueryQueueBuilder(NAMES),
        qbs=QuerySchedulerBuilder(NAMES),
    )


class SessionDriver:
    """pgqueuer's driver over a session's own connection, inside its transaction.

    The statements go through SQLAlchemy, which begins the transaction; on the bare asyncpg
    connection a first statement would be committed by itself and outlive a rollback.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        """Run a statement and read its rows."""
        return [dict(row) for row in (await self._run(query, args)).mappings()]

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement, whose rows nobody reads; the status is left out."""
        await self._run(query, args)
        return ""

    async def _run(self, query: str, args: tuple[object, ...]) -> CursorResult[Any]:
        connection = await self._session.connection()
        if connection.sync_connection.get_execution_options().get("isolation_level"):  # type: ignore[union-attr]
            raise RuntimeError("a session that reads in autocommit cannot enqueue jobs")
        return await connection.exec_driver_sql(query, args)


async def enqueue(
    session: AsyncSession, name: str, payload: Mapping[str, object], *, to: str | None = None
) -> None:
    """Add a job to the session's transaction, to be done once that has committed.

    Jobs with the same `to` (an address) are done one after the other, oldest first. The payload
    is JSON and holds no secret: it stays readable in the database until the job is done.
    """
    headers = propagation.inject() | ({} if to is None else {"to": to})
    driver: Any = SessionDriver(session)
    await make_queries(driver).enqueue(name, json.dumps(payload).encode(), headers=headers)


def register_metrics(metrics: Metrics, database: Database, mails: Collection[str]) -> None:
    """Show how many jobs there are, by state, and for how long the oldest have waited.

    `mails` are the names of the jobs that send a mail each.
    """
    metrics.add_query_gauge(
        "jobs", "Jobs in the queue.", ("state",), lambda: database.probe(count_jobs)
    )
    metrics.add_query_gauges(
        {
            "jobs_oldest_due_seconds": "How long the oldest job that is due has waited.",
            "mails_oldest_seconds": "The age of the oldest mail that is not sent yet.",
        },
        (),
        lambda: database.probe(partial(read_waits, list(mails))),
    )


async def count_jobs(connection: AsyncConnection) -> dict[tuple[str, ...], float]:
    """Count jobs by state, COUNTED_MAX at most, so that a long queue costs no more."""
    statement = text(
        "SELECT status::text, count(*) FROM (SELECT status FROM pgqueuer LIMIT :most) AS counted "
        "GROUP BY status"
    )
    found = await connection.execute(statement, {"most": COUNTED_MAX})
    return dict.fromkeys(STATES, 0) | {(state,): jobs for state, jobs in found}


async def read_waits(
    mails: Sequence[str], connection: AsyncConnection
) -> Sequence[Mapping[Labels, float]]:
    """Return for how long the oldest job that is due has waited, and the oldest mail.

    0 when there is none. Each is found by an index, however long the queue is.
    """
    row = (await connection.execute(WAITS, {"mails": mails})).one()
    return [{(): row.jobs}, {(): row.mails}]


async def older_job_waits(session: AsyncSession, name: str, job_id: int, to: str) -> float | None:
    """Return in how many seconds the next older job for the same address is due.

    None when there is none; 0 while it is under way.
    """
    statement = text(
        "SELECT GREATEST(extract(epoch FROM execute_after - now())::float, 0) FROM pgqueuer "
        "WHERE entrypoint = :name AND id < :id AND headers->>'to' = :to "
        "AND status IN ('queued', 'picked') ORDER BY id LIMIT 1"
    )
    found = await session.execute(statement, {"name": name, "id": job_id, "to": to})
    seconds: float | None = found.scalar_one_or_none()
    return seconds


async def delete_old_records(session: AsyncSession, now: datetime) -> int:
    """Delete old records of jobs, and jobs that failed long ago, and return their number.

    CLEANUP_BATCH at most of each table. What is locked is left: an operator may retry the job now.
    """
    deleted = 0
    for table, old, kept in (
        ("pgqueuer_log", "created < :before", RECORDS_KEPT),
        ("pgqueuer_statistics", "created < :before", RECORDS_KEPT),
        ("pgqueuer", "status = 'failed' AND updated < :before", FAILED_KEPT),
    ):
        batch = f"SELECT id FROM {table} WHERE {old} LIMIT :batch"  # noqa: S608 - constants
        locked = f"{batch} FOR UPDATE SKIP LOCKED"
        statement = text(f"DELETE FROM {table} WHERE id IN ({locked})")  # noqa: S608
        values = {"before": now - kept, "batch": CLEANUP_BATCH}
        deleted += await execute_count(session, statement, values)
    return deleted
