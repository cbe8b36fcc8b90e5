"""`service create-admin`."""

import sys
from contextlib import closing

import click
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from service.accounts import accounts
from service.accounts.recovery import recovery
from service.accounts.schemas import Registration
from service.admin.users import grant_admin
from service.auth import credentials
from service.auth.models import User
from service.auth.password_policy import refuse_names
from service.auth.passwords import Passwords
from service.auth.rows import UserRow
from service.cli.database import run_with_database
from service.db.database import Database
from service.errors import BadRequest, refusals
from service.settings import Settings
from service.web.client import INTERNAL


@click.command("create-admin")
@click.argument("email")
def create_admin(email: str) -> None:
    """Make the account with this EMAIL an administrator's.

    Where there is no such account one is made: its password is asked for, or it is the first line
    of standard input. The address counts as verified from then on. The schema must be at head
    (`service migrate`).
    """
    click.echo(run_with_database(_create_admin, email))


async def _create_admin(settings: Settings, email: str) -> str:
    """Make the administrator, and return a sentence about it."""
    database = Database(settings)
    try:
        known = await credentials.find_credentials(database.autocommit, email)
        if known is not None:
            _refuse_disabled(known)
        new = None if known is not None else await _ask(email)
        return await _grant(database, known, new)
    finally:
        await database.close()


async def _grant(
    database: Database, known: UserRow | None, new: tuple[Registration, str] | None
) -> str:
    async with database.transaction() as session:
        if new:
            user = await accounts.register(session, *new, verify=False)
        else:
            assert known is not None  # noqa: S101 - it was found where none is to be made
            user = await _lock(session, known)
        granted = await grant_admin(session, user.id)
        # Who has the terminal vouches for the address.
        await recovery.mark_verified(session, user.id, INTERNAL, None)
    if new:
        return f"Made the administrator {user.email}, with the username {user.username}."
    return f"{user.email} is an administrator {'now' if granted else 'already'}."


async def _lock(session: AsyncSession, known: UserRow) -> UserRow:
    """Lock an account that was found by its email, and return it as it is now.

    Raises ClickException when the email is not its own any more, or it is deleted or disabled.
    """
    own = User.id == known.id, credentials.has_email(known.email), credentials.NOT_DELETED
    locked = select(*credentials.COLUMNS).where(*own).with_for_update(key_share=True)
    user: UserRow | None = (await session.execute(locked)).one_or_none()
    if user is None:
        raise click.ClickException(f"The account {known.email} changed meanwhile: try again.")
    _refuse_disabled(user)
    return user


def _refuse_disabled(user: UserRow) -> None:
    if not user.is_active:
        raise click.ClickException(f"The account {user.email} is disabled: enable it first.")


async def _ask(email: str) -> tuple[Registration, str]:
    """Return the new account and its password's hash. Raises ClickException."""
    try:
        registration = Registration(email=email, password=_read_password(email))
        refuse_names(registration.password, email=email, username=None)
    except (BadRequest, ValidationError) as error:
        problems = (f"{name}: {'; '.join(said)}" for name, said in refusals(error).items())
        raise click.ClickException("; ".join(problems)) from None
    with closing(Passwords()) as passwords:
        return registration, await passwords.hash(registration.password)


def _read_password(email: str) -> str:
    if not sys.stdin.isatty():
        return _read_line()
    password: str = click.prompt(
        f"Password for the new account {email}", hide_input=True, confirmation_prompt=True
    )
    return password


def _read_line() -> str:
    """Read a line of standard input, which is UTF-8 whatever the locale. Raises ClickException."""
    try:
        # Windows' shells begin with a byte order mark.
        line = sys.stdin.buffer.readline().decode("utf-8-sig")
    except UnicodeDecodeError:
        line = "\0"  # as UTF-16 has
    if "\0" in line:
        raise click.ClickException("The password on standard input is not UTF-8.")
    return line.rstrip("\r\n")
