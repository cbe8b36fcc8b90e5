"""`service jobs`."""

from datetime import datetime

import click

from service.cli.database import connected, run_with_database
from service.jobs.failed import (
    FailedJob,
    RetriedJob,
    hurry_jobs,
    list_failed_jobs,
    list_retried_jobs,
    requeue_failed_jobs,
)
from service.settings import Settings


@click.command()
@click.option("--retry", is_flag=True, help="Try them all again now.")
def jobs(retry: bool) -> None:
    """List the jobs that failed: for good, then those that are tried again; the latest first."""
    failed = run_with_database(_failed, retry=retry)
    for job in failed:
        click.echo(f"{job.id}  {_minute(job.since)}  {job.name}  {job.reason}{_later(job)}")
    if not failed:
        click.echo("No job has failed.")
    elif retry:
        click.echo("They are tried again.")


def _minute(time: datetime) -> str:
    return time.isoformat(sep=" ", timespec="minutes")


def _later(job: FailedJob) -> str:
    if not isinstance(job, RetriedJob):
        return ""
    return f" (tried {job.attempts} times, again at {_minute(job.next_try)})"


async def _failed(settings: Settings, *, retry: bool) -> list[FailedJob]:
    async with connected(settings) as connection:
        failed = await list_failed_jobs(connection)
        retried = await list_retried_jobs(connection)
        if retry:
            await requeue_failed_jobs(connection, failed)
            await hurry_jobs(connection, retried)
    return [*failed, *retried]
