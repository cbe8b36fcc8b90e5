"""The insertion of accounts, with a username that was chosen or is made from the email."""

import re
import secrets
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from service.auth.credentials import COLUMNS, key_columns
from service.auth.models import USERNAME_MAX, User
from service.auth.rows import UserRow
from service.db.errors import violated_constraint
from service.errors import Conflict
from service.ids import new_id

USERNAME_MIN: Final = 3
_NOT_IN_USERNAMES: Final = re.compile(r"[^A-Za-z0-9._-]+")


class EmailTaken(Conflict):
    """Another account has the email address."""

    default_message = "Email already registered"


class UsernameTaken(Conflict):
    """Another account has the username."""

    default_message = "Username already taken"


async def insert_account(
    session: AsyncSession, email: str, username: str | None, password_hash: str, **columns: Any
) -> UserRow:
    """Insert an account. Raises EmailTaken or UsernameTaken, also when two requests race.

    Without a username one is made from the email, which never fails. `columns` are further ones.
    """
    values = {"password_hash": password_hash, **columns}
    if username is not None:
        return await _insert(session, email, username, values)
    for candidate in _username_candidates(email):
        try:
            return await _insert(session, email, candidate, values)
        except UsernameTaken:
            continue
    raise AssertionError("the candidates never end")


async def _insert(
    session: AsyncSession, email: str, username: str, columns: dict[str, Any]
) -> UserRow:
    statement = insert(User).returning(*COLUMNS)
    names = {"email": email, "username": username}
    values = {"id": new_id(), **names, **key_columns(names), **columns}
    try:
        # In a savepoint, because a taken name must not end the transaction.
        async with session.begin_nested():
            return (await session.execute(statement, values)).one()
    except IntegrityError as error:
        raise name_conflict(error) from None


def name_conflict(error: IntegrityError) -> Exception:
    """Return the error of a name that another account has, or the one that was given."""
    match violated_constraint(error):
        case "uq_users_email_key":
            return EmailTaken()
        case "uq_users_username_key":
            return UsernameTaken()
        case _:
            return error


def _username_candidates(email: str) -> Iterator[str]:
    local_part = email.rpartition("@")[0]
    base = _NOT_IN_USERNAMES.sub("", local_part).ljust(USERNAME_MIN, "_")
    yield base[:USERNAME_MAX]
    while True:
        suffix = secrets.token_hex(4)
        yield f"{base[: USERNAME_MAX - len(suffix) - 1]}-{suffix}"
