"""`service migrate`."""

import asyncio

import click

from service.cli.database import database_target, echo_steps, upgrade
from service.observability.logging import configure_logging
from service.settings import load_settings


@click.command()
@click.option(
    "--wait",
    type=click.FloatRange(min=0, max=3600),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a database that is just starting.",
)
def migrate(wait: float) -> None:
    """Bring the database's schema to what this code needs.

    The database is the one of DATABASE_URL, or without it the embedded one. Runs at the same
    time wait for one another.
    """
    settings = load_settings()
    configure_logging(settings)
    with database_target(settings) as target:
        steps = asyncio.run(upgrade(target.settings, wait))
    if not steps:
        click.echo("The schema is at head already.")
    echo_steps(steps)
