"""`service jobs`."""

import click

from service.cli.database import connected, run_with_database
from service.jobs.failed import FailedJob, list_failed_jobs, requeue_failed_jobs
from service.settings import Settings


@click.command()
@click.option("--retry", is_flag=True, help="Put them all back into the queue.")
def jobs(retry: bool) -> None:
    """List the jobs that failed for good, the latest first."""
    failed = run_with_database(_failed, retry=retry)
    for job in failed:
        since = job.since.isoformat(sep=" ", timespec="minutes")
        click.echo(f"{job.id}  {since}  {job.name}  {job.reason}")
    if not failed:
        click.echo("No job has failed.")
    elif retry:
        click.echo("They are tried again.")


async def _failed(settings: Settings, *, retry: bool) -> list[FailedJob]:
    async with connected(settings) as connection:
        failed = await list_failed_jobs(connection)
        if retry:
            await requeue_failed_jobs(connection, failed)
    return failed
