"""`service migrate`."""

import click

from service.cli.database import echo_upgrade, run_with_database, upgrade
from service.db.schema_version import is_contract

AFTER_ROLL_OUT = "run `service migrate --contract` once no process of an older release runs"


@click.command()
@click.option(
    "--wait",
    type=click.FloatRange(min=0, max=3600),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a database that is just starting.",
)
@click.option(
    "--contract",
    is_flag=True,
    help="Run also what removes what an older release needs: after the roll-out.",
)
def migrate(wait: float, contract: bool) -> None:
    """Bring the database's schema to what this code needs.

    In a database that a dump or logical replication brought to another cluster, the events of posts
    begin anew, and sequences are set past the ids of their tables.
    The database is the one of DATABASE_URL, or without it the embedded one. Processes of the
    older release go on serving meanwhile. Runs at the same time wait for one another.
    """
    done = run_with_database(upgrade, wait, contract=contract)
    if not (done.steps or done.left):
        click.echo("The schema is at head already.")
    echo_upgrade(done)
    if done.left:
        _report_left(done.left)


def _report_left(left: list[str]) -> None:
    """Write what is left. Raises ClickException when this code cannot run without it."""
    if all(is_contract(revision) for revision in left):
        click.echo(f"Left for after the roll-out: {', '.join(left)} ({AFTER_ROLL_OUT}).")
        return
    raise click.ClickException(
        f"{left[0]} of an earlier release stands before what this one needs: {AFTER_ROLL_OUT}."
    )
