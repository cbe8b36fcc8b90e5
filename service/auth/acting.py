"""Whether a caller may still act, judged in the transaction of the write.

The guards judge by a request's headers, and its body may come much later: until then the account
may be changed, and the login session or the API key may be ended.
"""

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.auth.account_lock import is_live, lock_account
from service.auth.api_keys.models import ApiKey
from service.auth.credentials import COLUMNS, NOT_DELETED
from service.auth.errors import AccountDisabled, SessionGone
from service.auth.models import User
from service.auth.principal import Principal
from service.auth.rows import UserRow
from service.errors import TokenRefused


async def lock_caller(session: AsyncSession, principal: Principal) -> UserRow:
    """Lock the caller's account until the transaction ends, and return it as it is now.

    Raises what `read_caller` does.
    """
    await lock_account(session, principal.user_id)
    # Only now, because what ends sessions may have held the lock.
    return await read_caller(session, principal)


async def read_caller(session: AsyncSession, principal: Principal) -> UserRow:
    """Return the caller's account as it is now.

    Raises SessionGone or TokenRefused (401) when the account is deleted, or the login session or
    the API key has ended; AccountDisabled (403).
    """
    statement = select(*COLUMNS).where(User.id == principal.user_id, NOT_DELETED)
    found = await session.execute(statement.where(_is_live(principal)))
    account: UserRow | None = found.one_or_none()
    if account is None:
        raise SessionGone if principal.key is None else TokenRefused
    if not account.is_active:
        raise AccountDisabled
    return account


def _is_live(principal: Principal) -> ColumnElement[bool]:
    """Return the condition that the caller's login session, or API key, has not ended."""
    if principal.key is None:
        return is_live(principal.claims.session_id)
    unexpired = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > clock.now())
    return exists().where(ApiKey.id == principal.key.key_id, unexpired)
