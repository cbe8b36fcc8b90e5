"""The lock of an account, which every change of it takes first, so that changes follow each other.

A session may have ended while the lock was waited for, so that it is looked at after that.
"""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.auth.credentials import NOT_DELETED
from service.auth.errors import SessionGone
from service.auth.models import LoginSession, User
from service.auth.tokens import Claims


class LockedAccount(Protocol):
    """An account that no other transaction changes until this one ends."""

    @property
    def id(self) -> UUID: ...
    @property
    def email(self) -> str: ...
    @property
    def email_verified_at(self) -> datetime | None: ...
    @property
    def second_factor_at(self) -> datetime | None: ...
    @property
    def sign_in_epoch(self) -> int: ...


async def lock_account(session: AsyncSession, user_id: UUID) -> LockedAccount | None:
    """Lock an account against every change until the transaction ends; None when it is deleted."""
    columns = (User.id, User.email, User.email_verified_at)
    statement = (
        select(*columns, User.second_factor_at, User.sign_in_epoch)
        .where(User.id == user_id, NOT_DELETED)
        # Posts of the account may be written meanwhile.
        .with_for_update(key_share=True)
    )
    account: LockedAccount | None = (await session.execute(statement)).one_or_none()
    return account


async def require_account(session: AsyncSession, owner: Claims) -> LockedAccount:
    """Lock the account of a live session, as `lock_account` does. Raises SessionGone (401)."""
    account = await lock_account(session, owner.user_id)
    if account is None:
        raise SessionGone
    await require_live(session, owner.session_id)
    return account


async def require_live(session: AsyncSession, session_id: UUID) -> None:
    """Raise SessionGone (401) unless a login session, whose account is locked, is live."""
    if not (await session.execute(select(is_live(session_id)))).scalar_one():
        raise SessionGone


def is_live(session_id: UUID) -> ColumnElement[bool]:
    """Return the condition that a login session has neither ended nor expired."""
    return exists().where(
        LoginSession.id == session_id,
        LoginSession.ended_at.is_(None),
        LoginSession.expires_at > clock.now(),
    )
