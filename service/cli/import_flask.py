"""`service import-flask`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import click

from service.cli.database import connected, echo_upgrade, run_with_database, upgrade
from service.db.engine import create_engine
from service.db.errors import DRIVER_ERRORS
from service.db.schema_version import schema_mismatch
from service.importing.copying import Tally, copy_posts, copy_users
from service.importing.destination import Destination
from service.importing.dry_run import DryRun
from service.importing.report import open_report
from service.importing.source import Source
from service.importing.sources import open_source
from service.settings import Settings

SOME_REFUSED: Final = 2  # exit code


@click.command("import-flask")
@click.argument("url")
@click.option("--dry-run", is_flag=True, help="Write nothing, and tell what would be done.")
@click.option(
    "--report",
    "report_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default="import-report.jsonl",
    show_default=True,
    metavar="FILE",
    help="Where to write what can't be taken: a line of JSON with table, id and reason for each.",
)
@click.pass_context
def import_flask(context: click.Context, url: str, dry_run: bool, report_path: Path) -> None:
    """Copy users and posts from the Flask service's database.

    URL is its SQLALCHEMY_DATABASE_URI (sqlite:///path, sqlite:////absolute/path or
    postgresql://…), or the path of an SQLite file. It is only read, and may be in use.

    What is not here is added, with its id, hash and times; what is here, changed or deleted
    meanwhile too, stays as it is. So it can be run again: after an interruption, or for what
    came in since. The exit code is 2 when something could not be taken.
    """
    refused = run_with_database(_import, url, report_path, dry_run)
    if refused:
        click.echo(f"{refused:,} rows could not be taken: {report_path} says why.", err=True)
        context.exit(SOME_REFUSED)


async def _import(settings: Settings, url: str, report_path: Path, dry_run: bool) -> int:
    """Copy everything; returns how many rows were refused."""
    await _prepare(settings, dry_run)
    async with open_source(url) as source, _destination(settings, dry_run) as destination:
        with open_report(report_path) as report:
            users = await _copy("users", source, copy_users(source, destination, report))
            posts = await _copy("posts", source, copy_posts(source, destination, report))
    for table, tally in (("Users", users), ("Posts", posts)):
        click.echo(_sentence(table, tally, dry_run))
    return users.refused + posts.refused


async def _copy(table: str, source: Source, batches: AsyncIterator[Tally]) -> Tally:
    """Copy a table under a progress bar."""
    total = Tally()
    length = await source.count(table)
    with click.progressbar(length=length, label=table.capitalize(), show_pos=True) as bar:
        async for tally in batches:
            total += tally
            bar.update(tally.read)
    return total


def _sentence(table: str, tally: Tally, dry_run: bool) -> str:
    added = "would be added" if dry_run else "added"
    return (
        f"{table}: {tally.read:,} read, {tally.added:,} {added}, "
        f"{tally.present:,} here already, {tally.refused:,} refused."
    )


async def _prepare(settings: Settings, dry_run: bool) -> None:
    """Bring the schema to head; in production and in a dry run only look."""
    if not (settings.production or dry_run):
        echo_upgrade(await upgrade(settings))
        return
    engine = create_engine(settings)
    try:
        async with engine.connect() as connection:
            problem = await connection.run_sync(schema_mismatch)
    finally:
        await engine.dispose()
    if problem:
        raise click.ClickException(f"Nothing was imported: {problem}.")


@asynccontextmanager
async def _destination(settings: Settings, dry_run: bool) -> AsyncIterator[Destination]:
    async with connected(settings) as connection:
        try:
            if dry_run:
                async with DryRun.begin(connection) as rehearsal:
                    yield rehearsal
            else:
                yield Destination(connection)
        except DRIVER_ERRORS as error:
            raise click.ClickException(
                f"The database at {settings.database_address} failed: {error}. "
                "What was imported stays; run the command again to go on."
            ) from error
