"""Jobs that failed for good: they are kept, listed, and put back on request."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.domain.types import JobId

from service.db.engine import Connection
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


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job that is not tried any more, since when, and why."""

    id: int
    name: str
    since: datetime
    reason: str


async def list_failed_jobs(connection: Connection) -> list[FailedJob]:
    """Read the jobs that failed for good, the latest first, LISTED_MAX at most."""
    return [
        FailedJob(row["id"], row["entrypoint"], row["updated"], _reason(row["traceback"]))
        for row in await connection.fetch(_FAILED, LISTED_MAX)
    ]


def _reason(traceback: str | None) -> str:
    record = json.loads(traceback) if traceback else {}
    kind, message = record.get("exception_type", ""), record.get("exception_message", "")
    return " ".join(f"{kind}: {message}".split())


async def requeue_failed_jobs(connection: Connection, failed: Sequence[FailedJob]) -> None:
    """Put jobs back into the queue, as if they had never been tried."""
    queries = make_queries(AsyncpgDriver(connection))
    await queries.requeue_jobs([JobId(job.id) for job in failed])
