"""The actions of operators on accounts."""

from collections.abc import Iterator
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.accounts.accounts import guard_last_admin
from service.admin.schemas import AccountChange, AccountQuery
from service.audit.events import Kind, record
from service.auth.credentials import COLUMNS, HAS_PASSWORD, NEXT_EPOCH, NOT_DELETED
from service.auth.models import User
from service.auth.rows import UserRow
from service.canonical import email_key, username_key
from service.errors import NotFound
from service.web.client import INTERNAL, Origin
from service.web.pagination import Position, Slice, follows, newest_first


class AccountNotFound(NotFound):
    """The account does not exist."""

    default_message = "Account not found"


_SHOWN: Final = (
    *COLUMNS,
    User.second_factor_at.is_not(None).label("second_factor"),
    HAS_PASSWORD.label("has_password"),
)
_accounts = select(*_SHOWN).where(NOT_DELETED)


async def list_accounts(
    session: AsyncSession, query: AccountQuery, *, after: Position | None
) -> Slice:
    """Return the accounts of a query, newest first."""
    limit = query.per_page
    statement = _accounts.order_by(*newest_first(User)).limit(limit + 1)
    if query.q:
        statement = statement.where(or_(*_matches(query.q)))
    if query.second_factor is not None:
        since = User.second_factor_at
        statement = statement.where(since.is_not(None) if query.second_factor else since.is_(None))
    if after is not None:
        statement = statement.where(follows(User))
    rows = await session.execute(statement, after.values if after else {})
    return Slice.cut(list(rows.all()), limit)


def _matches(part: str) -> Iterator[ColumnElement[bool]]:
    """Yield the conditions of which one holds for a part of what is shown, or of its key.

    PostgreSQL knows the cases of letters as its locale does, which may be none beyond ASCII.
    """
    for column in (User.email, User.username):
        yield column.icontains(part, autoescape=True)
    yield User.email_key.contains(email_key(part), autoescape=True)
    yield User.username_key.contains(username_key(part), autoescape=True)


async def read_account(session: AsyncSession, user_id: UUID) -> UserRow:
    """Return an account. Raises AccountNotFound."""
    account = (await session.execute(_accounts.where(User.id == user_id))).one_or_none()
    if account is None:
        raise AccountNotFound
    return account


async def change_account(
    session: AsyncSession, actor_id: UUID, user_id: UUID, change: AccountChange, origin: Origin
) -> UserRow:
    """Return an account after an operator's change of it. Raises AccountNotFound or LastAdmin."""
    values = change.given()
    if False in values.values():
        await guard_last_admin(session, user_id)
    locked = _accounts.where(User.id == user_id).with_for_update()
    before = (await session.execute(locked)).one_or_none()
    if before is None:
        raise AccountNotFound
    kinds = list(_kinds(before, values))
    if not kinds:
        return before
    statement = update(User).where(User.id == user_id)
    statement = statement.values(**values, **NEXT_EPOCH).returning(*_SHOWN)
    account = (await session.execute(statement)).one()
    for kind in kinds:
        await record(session, kind, user_id=user_id, actor_id=actor_id, origin=origin)
    return account


def _kinds(before: UserRow, values: dict[str, bool]) -> Iterator[Kind]:
    """Yield the kinds of events that a change causes."""
    if values.get("is_active", before.is_active) != before.is_active:
        yield Kind.ACCOUNT_ENABLED if values["is_active"] else Kind.ACCOUNT_DISABLED
    if values.get("is_admin", before.is_admin) != before.is_admin:
        yield Kind.ADMIN_GRANTED if values["is_admin"] else Kind.ADMIN_REVOKED


async def grant_admin(session: AsyncSession, user_id: UUID) -> bool:
    """Make an account an administrator; return False if it is one already or is deleted."""
    statement = (
        update(User)
        .where(User.id == user_id, NOT_DELETED, User.is_admin.is_(False))
        .values(is_admin=True)
        .returning(User.id)
    )
    if (await session.execute(statement)).one_or_none() is None:
        return False
    await record(session, Kind.ADMIN_GRANTED, user_id=user_id, actor_id=None, origin=INTERNAL)
    return True
