"""Jobs that failed, as tests see and retry them."""

from collections.abc import Sequence

from service.db.base import AnyRow
from service.db.database import Database
from service.jobs.failed import JobState, list_jobs


async def failed_jobs(database: Database) -> Sequence[AnyRow]:
    """The jobs that failed for good, newest first."""
    return await _list(database, JobState.FAILED)


async def retried_jobs(database: Database) -> Sequence[AnyRow]:
    """The jobs that failed and wait to be tried again, newest first."""
    return await _list(database, JobState.RETRIED)


async def _list(database: Database, state: JobState) -> Sequence[AnyRow]:
    async with database.read_session() as session:
        return await list_jobs(session, state)
