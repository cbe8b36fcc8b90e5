"""`service jobs`."""

import asyncio
from datetime import datetime

import click

from service.cli.database import connected, database_target
from service.jobs.failed import FailedJob, list_failed_jobs, requeue_failed_jobs
from service.observability.logging import configure_logging
from service.settings import Settings, load_settings


@click.command()
@click.option("--retry", is_flag=True, help="Put them all back into the queue.")
def jobs(retry: bool) -> None:
    """List the jobs that failed for good, the latest first."""
    settings = load_settings()
    configure_logging(settings)
    with database_target(settings) as target:
        failed = asyncio.run(_failed(target.settings, retry=retry))
    for job in failed:
        click.echo(f"{job.id}  {_minute(job.since)}  {job.name}  {job.reason}")
    if not failed:
        click.echo("No job has failed.")
    elif retry:
        click.echo("They are tried again.")


def _minute(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="minutes")


async def _failed(settings: Settings, *, retry: bool) -> list[FailedJob]:
    async with connected(settings) as connection:
        failed = await list_failed_jobs(connection)
        if retry:
            await requeue_failed_jobs(connection, failed)
    return failed
