"""Jobs that failed: they are listed with what went wrong, and put back on request."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.domain.types import JobId

from service.db.connecting import Connection
from service.jobs.queue import make_queries

LISTED_MAX: Final = 1000

# The last failure that was recorded of each.
_FAILED: Final = """
SELECT job.id, job.entrypoint, job.updated, log.traceback
FROM pgqueuer AS job
LEFT JOIN LATERAL (
    SELECT traceback FROM pgqueuer_log
    WHERE job_id = job.id AND status = 'failed' ORDER BY id DESC LIMIT 1
) AS log ON true
WHERE job.status = 'failed'
ORDER BY job.updated DESC, job.id DESC
LIMIT $1
"""

# Of jobs that wait to be tried again, the last failure; those that only waited have none.
_RETRIED: Final = """
SELECT job.id, job.entrypoint, job.updated, job.attempts, job.execute_after, log.reason
FROM pgqueuer AS job
CROSS JOIN LATERAL (
    SELECT traceback->'additional_context'->>'reason' AS reason FROM pgqueuer_log
    WHERE job_id = job.id AND status = 'queued' AND traceback IS NOT NULL
    AND NOT (traceback->'additional_context'->>'reason' = ANY($2)) ORDER BY id DESC LIMIT 1
) AS log
WHERE job.status IN ('queued', 'picked') AND job.attempts > 0
ORDER BY job.updated DESC, job.id DESC
LIMIT $1
"""

_HURRY: Final = """
UPDATE pgqueuer SET execute_after = now() WHERE id = ANY($1) AND status = 'queued'
"""

# Why a job may go back into the queue without a failure.
STOPPED: Final = "the worker was stopped"
NOT_ITS_TURN: Final = "an older job comes first"


class JobFailed(Exception):
    """A job failed for the last time; the message is what an operator should know."""


def reason_of(error: BaseException) -> str:
    """Return an error's notes (PEP 678), which say what an operator can do, and the error."""
    notes = " ".join(getattr(error, "__notes__", ()))
    return f"{notes} ({error!r})" if notes else repr(error)


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job that is not tried any more, since when, and why."""

    id: int
    name: str
    since: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class RetriedJob(FailedJob):
    """A job that failed so many times, and when it is tried again."""

    attempts: int
    next_try: datetime


async def list_failed_jobs(connection: Connection) -> list[FailedJob]:
    """Read the jobs that failed for good, the latest first, LISTED_MAX at most."""
    return [
        FailedJob(row["id"], row["entrypoint"], row["updated"], _reason(row["traceback"]))
        for row in await connection.fetch(_FAILED, LISTED_MAX)
    ]


async def list_retried_jobs(connection: Connection) -> list[RetriedJob]:
    """Read the jobs that failed and are tried again, the latest first, LISTED_MAX at most."""
    return [
        RetriedJob(
            row["id"],
            row["entrypoint"],
            row["updated"],
            " ".join(row["reason"].split()),
            row["attempts"],
            row["execute_after"],
        )
        for row in await connection.fetch(_RETRIED, LISTED_MAX, [STOPPED, NOT_ITS_TURN])
    ]


def _reason(traceback: str | None) -> str:
    record = json.loads(traceback) if traceback else {}
    kind, message = record.get("exception_type", ""), record.get("exception_message", "")
    return " ".join(f"{kind}: {message}".split())


async def requeue_failed_jobs(connection: Connection, failed: Sequence[FailedJob]) -> None:
    """Put jobs back into the queue, as if they had never been tried."""
    queries = make_queries(AsyncpgDriver(connection))
    await queries.requeue_jobs([JobId(job.id) for job in failed])


async def hurry_jobs(connection: Connection, retried: Sequence[RetriedJob]) -> None:
    """Make jobs due now that wait to be tried again."""
    await connection.execute(_HURRY, [job.id for job in retried])
