"""The queries and bodies of operators' requests and responses about jobs."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final

from pydantic import BaseModel, Field

from service.db.base import MappedRow
from service.jobs.failed import JobState
from service.web.converters import NUMBER_MAX
from service.web.openapi import example
from service.web.pagination import CursorQuery


class JobQuery(CursorQuery):
    """The jobs that failed for good, that wait to be tried again, or both."""

    state: JobState | None = None


JOB_EXAMPLE: Final = {
    "id": 1815, "kind": "mail link", "state": "retried", "since": "2026-11-22T10:00:00.123456Z",
    "attempts": 3, "next_try": "2026-11-22T10:00:04.123456Z",
    "reason": "No mail server answers at mail.example.com:25",
}  # fmt: skip


class JobOut(BaseModel):
    """A job that failed: since when it is so, how often it was tried, and the last failure.

    `next_try` is null when it is not tried any more.
    """

    model_config = example(JOB_EXAMPLE)

    id: Annotated[int, Field(ge=1, le=NUMBER_MAX)]
    kind: str
    state: JobState
    since: datetime
    attempts: Annotated[int, Field(ge=1)]
    next_try: datetime | None
    reason: str


class JobList(BaseModel):
    """Jobs that failed, newest first."""

    model_config = example({"jobs": [JOB_EXAMPLE], "next_cursor": None})

    jobs: list[JobOut]
    next_cursor: str | None


class RetriedJobs(BaseModel):
    """How many jobs are tried again now that were not due."""

    model_config = example({"retried": 3})

    retried: Annotated[int, Field(ge=0)]


_MEMBERS: Final = tuple(JobOut.model_fields)


def show_job(job: MappedRow) -> Mapping[str, object]:
    """Return a job as operators see it."""
    columns = job._mapping
    return {name: columns[name] for name in _MEMBERS}
