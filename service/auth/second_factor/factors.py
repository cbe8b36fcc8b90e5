"""The second factor of an account: turned on, turned off, and forgotten.

The account is locked first, as in each change of an account, so that changes follow each other.
"""

from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.auth.credentials import NEXT_EPOCH, NOT_DELETED
from service.auth.errors import SessionGone
from service.auth.models import User
from service.auth.second_factor.models import CodeLock, RecoveryCode, Totp, TotpSetup
from service.auth.second_factor.recovery_codes import replace_codes

_OWN_TABLES: Final = (Totp, TotpSetup, RecoveryCode)


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


async def require_account(session: AsyncSession, user_id: UUID) -> LockedAccount:
    """Lock the caller's account, as `lock_account` does. Raises SessionGone (401)."""
    account = await lock_account(session, user_id)
    if account is None:
        raise SessionGone
    return account


async def turn_on(session: AsyncSession, user_id: UUID) -> list[str]:
    """Turn an account's second factor on, and return its recovery codes; the account is locked.

    What waits for the account is worthless from then on.
    """
    await change_factors(session, user_id, second_factor_at=clock.now())
    return await replace_codes(session, user_id)


async def forget_factors(session: AsyncSession, user_id: UUID) -> bool:
    """Turn an account's second factor off, and delete its authenticator app and recovery codes.

    A set-up or a login that waits is worthless from then on. Returns whether it was on.
    """
    account = await lock_account(session, user_id)
    if account is None:
        return False
    for table in _OWN_TABLES:
        await session.execute(delete(table).where(table.user_id == user_id))
    await forget_failures(session, user_id)
    await change_factors(session, user_id, second_factor_at=None)
    return account.second_factor_at is not None


async def change_factors(session: AsyncSession, user_id: UUID, **values: Any) -> None:
    """Note that an account's factors changed, which ends what waits for it; the account is locked.

    `values` are further columns of the account.
    """
    change = update(User).where(User.id == user_id).values(**NEXT_EPOCH, **values)
    await session.execute(change)


async def forget_failures(session: AsyncSession, user_id: UUID) -> None:
    """Forget the wrong codes of an account, with the secret that was guessed at."""
    await session.execute(delete(CodeLock).where(CodeLock.user_id == user_id))
