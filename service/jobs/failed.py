"""Jobs that failed: they are listed with what went wrong, and tried again on request."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

from pgqueuer.domain.types import JobId
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from service.db.base import AnyRow
from service.db.database import execute_count
from service.jobs.queue import SessionDriver, make_queries

LISTED_MAX: Final = 1000
RETRIED_MAX: Final = 1000

# Why a job may go back into the queue without a failure.
STOPPED: Final = "the worker was stopped"
NOT_ITS_TURN: Final = "an older job comes first"
NO_FAILURES: Final = (STOPPED, NOT_ITS_TURN)


class JobState(StrEnum):
    """What became of a job that failed: not tried any more, or waiting to be tried again."""

    FAILED = "failed"
    RETRIED = "retried"


class JobFailed(Exception):
    """A job failed for the last time; the message is what an operator should know."""


def reason_of(error: BaseException) -> str:
    """Return an error's notes (PEP 678), which say what an operator can do, and the error."""
    notes = " ".join(getattr(error, "__notes__", ()))
    return f"{notes} ({error!r})" if notes else repr(error)


# A failure after which a job was put back; those that only waited have another reason or none.
_WITH_FAILURE: Final = """
status = 'queued' AND traceback IS NOT NULL
AND NOT (traceback->'additional_context'->>'reason' = ANY(:no_failures))
"""
_WAITS: Final = "job.status IN ('queued', 'picked')"
# Of each job the last failure that was recorded, in one line.
_SELECTS: Final = {
    JobState.FAILED: """
SELECT job.id, job.created AS created_at, job.entrypoint AS kind, 'failed' AS state,
    job.updated AS since, job.attempts + 1 AS attempts, NULL::timestamptz AS next_try,
    coalesce(btrim(regexp_replace(log.reason, '\\s+', ' ', 'g')), '') AS reason
FROM pgqueuer AS job
LEFT JOIN LATERAL (
    SELECT concat(traceback->>'exception_type', ': ', traceback->>'exception_message') AS reason
    FROM pgqueuer_log WHERE job_id = job.id AND status = 'failed' ORDER BY id DESC LIMIT 1
) AS log ON true
WHERE job.status = 'failed'
""",
    JobState.RETRIED: f"""
SELECT job.id, job.created AS created_at, job.entrypoint AS kind, 'retried' AS state,
    job.updated AS since, job.attempts, job.execute_after AS next_try,
    btrim(regexp_replace(log.reason, '\\s+', ' ', 'g')) AS reason
FROM pgqueuer AS job
CROSS JOIN LATERAL (
    SELECT traceback->'additional_context'->>'reason' AS reason
    FROM pgqueuer_log WHERE job_id = job.id AND {_WITH_FAILURE} ORDER BY id DESC LIMIT 1
) AS log
WHERE {_WAITS} AND job.attempts > 0
""",  # noqa: S608 - constants
}
_ANY: Final = "true"
_CHOSEN: Final = "job.id = ANY(:ids)"
# In one order, so that two at once do not wait for each other.
_LOCK_FAILED: Final = """
SELECT job.id FROM pgqueuer AS job WHERE job.status = 'failed' AND {which}
ORDER BY job.id LIMIT :most FOR UPDATE
"""
# What is locked is in a worker's hands, or another operator's. By the clock, because the time at
# which another transaction began, which it made a job due at, may be later than this one's.
_HURRY: Final = f"""
UPDATE pgqueuer SET execute_after = now() WHERE id IN (
    SELECT job.id FROM pgqueuer AS job
    WHERE job.status = 'queued' AND job.attempts > 0 AND job.execute_after > clock_timestamp()
    AND EXISTS (SELECT FROM pgqueuer_log WHERE job_id = job.id AND {_WITH_FAILURE}) AND {{which}}
    ORDER BY job.id LIMIT :most FOR UPDATE SKIP LOCKED
)
"""  # noqa: S608 - constants
_KIND: Final = text(
    f"""
SELECT job.entrypoint FROM pgqueuer AS job
WHERE job.id = :id AND (job.status = 'failed' OR {_WAITS} AND EXISTS (
    SELECT FROM pgqueuer_log WHERE job_id = job.id AND (status = 'failed' OR {_WITH_FAILURE})
))
"""  # noqa: S608 - constants
)
_NO_FAILURES: Final = {"no_failures": list(NO_FAILURES)}


async def list_jobs(
    session: AsyncSession,
    state: JobState | None,
    *,
    limit: int = LISTED_MAX,
    after: int | None = None,
) -> Sequence[AnyRow]:
    """Return jobs that failed, in a state or in any, the newest first: those after an id, or all.

    By their ids, which no failure changes, so that reading on skips none.
    """
    statement = listing(state, reads_on=after is not None)
    values = {"limit": limit, "after": after, **_NO_FAILURES}
    bound = {name: values[name] for name in statement.compile().params}
    return (await session.execute(statement, bound)).all()


def listing(state: JobState | None, *, reads_on: bool) -> TextClause:
    """Return the query of the newest jobs in a state or in any, after the parameter `after` or all.

    Each state is limited by itself, or the records of all its jobs would be looked up.
    """
    newest = f"{'AND job.id < :after ' if reads_on else ''}ORDER BY job.id DESC LIMIT :limit"
    jobs = " UNION ALL ".join(
        f"({_SELECTS[each]}{newest})" for each in JobState if state in (each, None)
    )
    return text(f"SELECT * FROM ({jobs}) AS jobs ORDER BY id DESC LIMIT :limit")  # noqa: S608


async def find_kind(session: AsyncSession, job_id: int) -> str | None:
    """Return the kind of a job that failed and is not done since, or None."""
    found = await session.execute(_KIND, {"id": job_id, **_NO_FAILURES})
    kind: str | None = found.scalar_one_or_none()
    return kind


async def retry_jobs(session: AsyncSession, ids: Sequence[int] | None = None) -> int:
    """Make jobs due now that failed, all or these; return how many were not due already.

    Those that failed for good go back into the queue, as if they had never been tried. Of all,
    RETRIED_MAX in each state at most.
    """
    which = _ANY if ids is None else _CHOSEN
    values: dict[str, Any] = {"most": RETRIED_MAX} | ({} if ids is None else {"ids": list(ids)})
    failed = (await session.scalars(_which(_LOCK_FAILED, which), values)).all()
    driver: Any = SessionDriver(session)
    await make_queries(driver).requeue_jobs([JobId(job_id) for job_id in failed])
    hurry = _which(_HURRY, which)
    return len(failed) + await execute_count(session, hurry, values | _NO_FAILURES)


def _which(statement: str, which: str) -> TextClause:
    return text(statement.format(which=which))
