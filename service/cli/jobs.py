"""`service jobs`."""

from collections.abc import Sequence
from datetime import datetime

import click

from service.cli.database import opened, run_with_database
from service.db.base import AnyRow
from service.jobs.failed import JobState, list_jobs, retry_jobs
from service.settings import Settings


@click.command()
@click.option("--retry", is_flag=True, help="Try them all again now.")
def jobs(retry: bool) -> None:
    """List the jobs that failed: for good, then those that are tried again; the latest first."""
    failed = run_with_database(_failed, retry=retry)
    for job in failed:
        click.echo(f"{job.id}  {_minute(job.since)}  {job.kind}  {job.reason}{_later(job)}")
    if not failed:
        click.echo("No job has failed.")
    elif retry:
        click.echo("They are tried again.")


def _minute(time: datetime) -> str:
    return time.isoformat(sep=" ", timespec="minutes")


def _later(job: AnyRow) -> str:
    if job.state != JobState.RETRIED:
        return ""
    return f" (tried {job.attempts} times, again at {_minute(job.next_try)})"


async def _failed(settings: Settings, *, retry: bool) -> Sequence[AnyRow]:
    async with opened(settings) as database, database.transaction() as session:
        failed = [
            job
            for state in (JobState.FAILED, JobState.RETRIED)
            for job in sorted(
                await list_jobs(session, state), key=lambda job: (job.since, job.id), reverse=True
            )
        ]
        if retry:
            await retry_jobs(session, [job.id for job in failed])
    return failed
