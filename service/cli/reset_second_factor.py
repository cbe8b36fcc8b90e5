"""`service reset-second-factor`."""

import click

from service.admin.protection import reset_second_factor as reset
from service.auth import credentials
from service.cli.database import run_with_database
from service.db.database import Database
from service.settings import Settings
from service.web.client import INTERNAL


@click.command("reset-second-factor")
@click.argument("email")
def reset_second_factor(email: str) -> None:
    """Turn off the second factor of the account with this EMAIL, whose owner has lost it.

    The authenticator app, the passkeys and the recovery codes are of no more use, all sessions of
    the account end, and its owner is informed by mail.
    """
    click.echo(run_with_database(_reset_second_factor, email))


async def _reset_second_factor(settings: Settings, email: str) -> str:
    """Turn the second factor off, and return a sentence about it. Raises ClickException."""
    database = Database(settings)
    try:
        account = await credentials.find_credentials(database.autocommit, email)
        if account is None:
            raise click.ClickException(f"There is no account {email}.")
        async with database.transaction() as session:
            was_on = await reset(session, None, account.id, INTERNAL)
    finally:
        await database.close()
    if not was_on:
        return f"The second factor of {account.email} is off already."
    return f"Turned the second factor of {account.email} off, and ended all its sessions."
