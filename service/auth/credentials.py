"""Accounts and the hashes of their passwords, as a login looks them up."""

from collections.abc import Mapping
from typing import Final, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Table, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.auth.models import NO_PASSWORD, User
from service.auth.rows import CredentialsRow, PasswordRow
from service.canonical import email_key, username_key
from service.db.autocommit import Autocommit
from service.db.query import CompiledQuery, CompiledWrite

# The columns of a UserRow.
_table: Final = cast(Table, User.__table__)
_users: Final = _table.c
COLUMNS: Final = (
    _users.id,
    _users.email,
    _users.username,
    _users.is_active,
    _users.is_admin,
    _users.email_verified_at.is_not(None).label("email_verified"),
    _users.created_at,
)
NOT_DELETED: Final = _users.deleted_at.is_(None)
HAS_PASSWORD: Final = _users.password_hash != NO_PASSWORD
# What every change of an account's password, email, factors or state sets beside it.
NEXT_EPOCH: Final[Mapping[str, object]] = {"sign_in_epoch": User.sign_in_epoch + 1}


def has_email(email: str) -> ColumnElement[bool]:
    """Return the condition that an account has an email, in any spelling."""
    return User.email_key == email_key(email)


def key_columns(values: Mapping[str, str]) -> dict[str, str]:
    """Return the columns of the keys that belong to an email, a username or both, by their names.

    Every statement that writes one of these writes its key, too.
    """
    makers = {"email": email_key, "username": username_key}
    return {f"{name}_key": make(values[name]) for name, make in makers.items() if name in values}


_BY_EMAIL: Final = CompiledQuery(
    select(
        *COLUMNS,
        _users.password_hash,
        _users.password_changed_at,
        _users.second_factor_at,
        _users.sign_in_epoch,
    ).where(_users.email_key == bindparam("key"), NOT_DELETED)
)


async def find_credentials(db: Autocommit, email: str) -> CredentialsRow | None:
    """Return the account that has an email, in any spelling, and its password's hash, or None."""
    return await db.fetch_one(_BY_EMAIL, {"key": email_key(email)})


async def find_password(session: AsyncSession, user_id: UUID) -> PasswordRow | None:
    """Return the hash of an account's password and when the password changed, or None."""
    columns = (User.id, User.password_hash, User.password_changed_at, User.sign_in_epoch)
    statement = select(*columns).where(User.id == user_id, NOT_DELETED)
    return (await session.execute(statement)).one_or_none()


_REPLACE_HASH: Final = CompiledWrite(
    update(_table)
    .where(_users.id == bindparam("user_id"), _users.password_hash == bindparam("old"))
    .values(password_hash=bindparam("new"))
    .returning(_users.id)
)


async def replace_hash(db: Autocommit, user_id: UUID, old: str, new: str) -> None:
    """Store another hash of the same password, unless the password changed meanwhile."""
    await db.write(_REPLACE_HASH, {"user_id": user_id, "old": old, "new": new})
