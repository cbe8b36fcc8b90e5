"""`service migrate`."""

import click

from service.cli.database import echo_steps, run_with_database, upgrade


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
    steps = run_with_database(upgrade, wait)
    if not steps:
        click.echo("The schema is at head already.")
    echo_steps(steps)
