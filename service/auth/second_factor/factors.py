"""The second factor of an account: turned on, turned off, and forgotten.

The account is locked first, as in each change of an account, so that changes follow each other.
"""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.auth.account_lock import lock_account
from service.auth.credentials import NEXT_EPOCH
from service.auth.models import User
from service.auth.second_factor.models import CodeLock, RecoveryCode, Totp, TotpSetup
from service.auth.second_factor.recovery_codes import replace_codes

_OWN_TABLES: Final = (Totp, TotpSetup, RecoveryCode)


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


async def forget_setup(session: AsyncSession, user_id: UUID) -> None:
    """Delete an authenticator app that waits for its first code; the account is locked."""
    await session.execute(delete(TotpSetup).where(TotpSetup.user_id == user_id))


async def forget_failures(session: AsyncSession, user_id: UUID) -> None:
    """Forget the wrong codes of an account, with the secret that was guessed at."""
    await session.execute(delete(CodeLock).where(CodeLock.user_id == user_id))
