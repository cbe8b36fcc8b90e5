"""The actions of operators on jobs that failed."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from service.audit.events import Kind, record
from service.db.synchronous import require_replication
from service.errors import NotFound
from service.jobs import failed
from service.jobs.failed import JobState
from service.web.client import Origin
from service.web.pagination import Position, Slice


class JobNotFound(NotFound):
    """No job of this id has failed and waits to be tried again, or is not tried any more."""

    default_message = "Job not found"


async def list_jobs(
    session: AsyncSession, state: JobState | None, *, limit: int, after: Position | None
) -> Slice:
    """Return jobs that failed, newest first, in a state or in any."""
    after_id = None if after is None else after.number
    return Slice.cut(await failed.list_jobs(session, state, limit=limit + 1, after=after_id), limit)


async def retry_job(session: AsyncSession, actor_id: UUID, job_id: int, origin: Origin) -> None:
    """Make a job due now that failed. Raises JobNotFound."""
    changed = await failed.retry_jobs(session, [job_id])
    kind = await failed.find_kind(session, job_id)
    if kind is None:
        raise JobNotFound
    detail = {"job": kind, "id": job_id}
    await _record(session, actor_id, origin, detail if changed else {})


async def retry_jobs(session: AsyncSession, actor_id: UUID, origin: Origin) -> int:
    """Make jobs due now that failed, as many as are retried at once, and return their number."""
    changed = await failed.retry_jobs(session)
    await _record(session, actor_id, origin, {"jobs": changed} if changed else {})
    return changed


async def _record(
    session: AsyncSession, actor_id: UUID, origin: Origin, detail: dict[str, object]
) -> None:
    if not detail:
        await require_replication(session)
        return
    await record(
        session, Kind.JOB_RETRIED, user_id=None, actor_id=actor_id, origin=origin, detail=detail
    )
