"""What can be done with accounts."""

import re
import secrets
from collections.abc import Iterator
from typing import Final
from uuid import UUID

from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from service.accounts.models import USERNAME_MAX, User
from service.accounts.schemas import Registration
from service.database import AnyRow, violated_constraint
from service.errors import Conflict
from service.ids import new_id
from service.web.text import comparable_email

USERNAME_MIN: Final = 3
_NOT_IN_USERNAMES: Final = re.compile(r"[^A-Za-z0-9._-]+")
_COLUMNS: Final = (User.id, User.email, User.username, User.is_active, User.created_at)


class EmailTaken(Conflict):
    """Another account has the email address."""

    default_message = "Email already registered"


class UsernameTaken(Conflict):
    """Another account has the username."""

    default_message = "Username already taken"


async def register(session: AsyncSession, registration: Registration, password_hash: str) -> AnyRow:
    """Make an account. Raises EmailTaken or UsernameTaken, also when two race.

    Without a username one is made from the email; that never fails.
    """
    if registration.username is not None:
        return await _insert(session, registration.email, registration.username, password_hash)
    for username in _username_candidates(registration.email):
        try:
            return await _insert(session, registration.email, username, password_hash)
        except UsernameTaken:
            continue
    raise AssertionError("the candidates never end")


async def _insert(session: AsyncSession, email: str, username: str, password_hash: str) -> AnyRow:
    statement = insert(User).returning(*_COLUMNS)
    values = {"id": new_id(), "email": email, "username": username, "password_hash": password_hash}
    try:
        # A savepoint: a name that is taken must not cost the transaction.
        async with session.begin_nested():
            return (await session.execute(statement, values)).one()
    except IntegrityError as error:
        raise _conflict(error) from None


def _conflict(error: IntegrityError) -> Exception:
    match violated_constraint(error):
        case "uq_users_lower_email":
            return EmailTaken()
        case "uq_users_lower_username":
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


async def find_user(session: AsyncSession, user_id: UUID) -> AnyRow | None:
    """Read an account by id."""
    return (await session.execute(select(*_COLUMNS).where(User.id == user_id))).one_or_none()


async def find_credentials(session: AsyncSession, email: str) -> AnyRow | None:
    """Read an account and its password's hash by email, in any case."""
    # PostgreSQL lowers both sides: Python lowers some letters (İ, a last Σ) to others.
    same_email = func.lower(User.email) == func.lower(comparable_email(email))
    statement = select(*_COLUMNS, User.password_hash).where(same_email)
    return (await session.execute(statement)).one_or_none()
