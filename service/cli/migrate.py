"""`service migrate`."""

import click

from service.cli.database import echo_upgrade, run_with_database, upgrade


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

    In a database that a dump or logical replication brought to another cluster, the events of posts
    begin anew, and sequences are set past the ids of their tables.
    The database is the one of DATABASE_URL, or without it the embedded one. Runs at the same
    time wait for one another.
    """
    upgraded = run_with_database(upgrade, wait)
    if not upgraded.steps:
        click.echo("The schema is at head already.")
    echo_upgrade(upgraded)
