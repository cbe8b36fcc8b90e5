"""Jobs that failed, for operators, under /admin/jobs."""

from typing import Final

from quart import Blueprint, Response

from service.admin import jobs
from service.admin.acting import confirm_operator
from service.admin.job_schemas import JobList, JobQuery, RetriedJobs, show_job
from service.admin.jobs import JobNotFound
from service.auth.guards import admin_required
from service.web.client import origin
from service.web.db_session import db_session
from service.web.openapi import answers
from service.web.openapi.headers import LINK
from service.web.pagination import InvalidCursor, cursor_links, next_page, position
from service.web.ratelimit import limit
from service.web.responses import json_response, no_content
from service.web.validation import validate_querystring

blueprint: Final = Blueprint("admin_jobs", __name__, url_prefix="/admin/jobs")

CURSORS: Final = "jobs"


@blueprint.get("")
@limit("ADMIN")
@admin_required
@validate_querystring(JobQuery)
@answers(200, JobList, headers=[LINK], links=[next_page("list_jobs")], errors=[InvalidCursor])
async def list_jobs(query_args: JobQuery) -> Response:
    """List jobs that failed, newest first."""
    page = await jobs.list_jobs(
        db_session(),
        query_args.state,
        limit=query_args.per_page,
        after=position(CURSORS, query_args),
    )
    next_cursor = page.next_cursor(CURSORS)
    payload = {"jobs": [show_job(row) for row in page.rows], "next_cursor": next_cursor}
    return json_response(payload, headers=cursor_links(query_args, next_cursor))


@blueprint.post("/<number:job_id>/retry")
@limit("ADMIN")
@admin_required
@answers(204, errors=[JobNotFound])
async def retry_job(job_id: int) -> Response:
    """Try a job again now that failed.

    One that was put back already, and is not done yet, stays as it is.
    """
    actor_id = await confirm_operator()
    await jobs.retry_job(db_session(), actor_id, job_id, origin())
    return no_content()


@blueprint.post("/retry")
@limit("ADMIN")
@admin_required
@answers(200, RetriedJobs)
async def retry_jobs() -> Response:
    """Try all jobs again now that failed, 1,000 in each state at most."""
    actor_id = await confirm_operator()
    retried = await jobs.retry_jobs(db_session(), actor_id, origin())
    return json_response({"retried": retried})
