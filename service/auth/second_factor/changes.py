"""What the owner of an account changes of its second factor, with the events and notices of it."""

from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.audit.events import Kind, record_own
from service.auth.account_lock import require_account
from service.auth.owners import notify_owner
from service.auth.passkeys.queries import has_passkey
from service.auth.second_factor.factors import (
    change_factors,
    forget_factors,
    forget_failures,
    forget_setup,
    turn_on,
)
from service.auth.second_factor.models import Totp
from service.auth.second_factor.recovery_codes import replace_codes
from service.auth.sessions import revoke_sessions
from service.auth.tokens import Claims
from service.db.synchronous import require_replication
from service.errors import Conflict
from service.notices.notices import Notice
from service.web.client import Origin


class NoFactor(Conflict):
    """There is nothing that could be the account's second factor."""

    default_message = "Set up an authenticator app or a passkey first"


class SecondFactorOff(Conflict):
    """The account's second factor is off."""

    default_message = "The second factor is off"


async def enable(session: AsyncSession, user_id: UUID, origin: Origin, *, keep: UUID) -> list[str]:
    """Turn the second factor of an account on, which is locked, and return its recovery codes.

    All its login sessions end but the one to keep.
    """
    codes = await turn_on(session, user_id)
    await revoke_sessions(session, user_id, origin, keep=keep)
    await record_own(session, Kind.SECOND_FACTOR_ENABLED, user_id, origin)
    await record_own(session, Kind.RECOVERY_CODES_CREATED, user_id, origin)
    await notify_owner(session, user_id, Notice.SECOND_FACTOR_ON)
    return codes


async def enable_again(session: AsyncSession, owner: Claims, origin: Origin) -> list[str]:
    """Turn the second factor on by what is there, and return new recovery codes, none if it was on.

    Raises NoFactor, and SessionGone when the owner's session has ended.
    """
    user_id = owner.user_id
    account = await require_account(session, owner)
    if account.second_factor_at is not None:
        await require_replication(session)
        return []
    app = select(Totp.user_id).where(Totp.user_id == user_id)
    has_app = (await session.execute(app)).one_or_none() is not None
    if not has_app and not await has_passkey(session, user_id):
        raise NoFactor
    return await enable(session, user_id, origin, keep=owner.session_id)


async def disable(session: AsyncSession, owner: Claims, origin: Origin) -> None:
    """Turn the second factor off, which deletes the authenticator app and the recovery codes.

    An authenticator app that waits for its first code is gone, even while it is off. Raises
    SessionGone when the owner's session has ended.
    """
    user_id = owner.user_id
    account = await require_account(session, owner)
    await forget_setup(session, user_id)
    if account.second_factor_at is None:
        await require_replication(session)
        return
    await forget_factors(session, user_id)
    await report_off(session, user_id, origin)


async def remove_totp(session: AsyncSession, owner: Claims, origin: Origin) -> None:
    """Remove the authenticator app, one that waits for its first code, too.

    Without a passkey it is the last factor, so that the second factor is off from then on. Raises
    SessionGone when the owner's session has ended.
    """
    user_id = owner.user_id
    account = await require_account(session, owner)
    await forget_setup(session, user_id)
    app = delete(Totp).where(Totp.user_id == user_id).returning(Totp.user_id)
    if (await session.execute(app)).one_or_none() is None:
        await require_replication(session)
        return
    if await has_passkey(session, user_id):
        await forget_failures(session, user_id)
        await change_factors(session, user_id)
        return
    await forget_factors(session, user_id)
    if account.second_factor_at is not None:
        await report_off(session, user_id, origin)


async def renew_recovery_codes(session: AsyncSession, owner: Claims, origin: Origin) -> list[str]:
    """Make new recovery codes and return them; the old ones are dead.

    Raises SecondFactorOff, and SessionGone when the owner's session has ended.
    """
    user_id = owner.user_id
    account = await require_account(session, owner)
    if account.second_factor_at is None:
        raise SecondFactorOff
    codes = await replace_codes(session, user_id)
    await record_own(session, Kind.RECOVERY_CODES_CREATED, user_id, origin)
    await notify_owner(session, user_id, Notice.RECOVERY_CODES_MADE)
    return codes


async def report_off(session: AsyncSession, user_id: UUID, origin: Origin) -> None:
    """Record that the second factor is off, and inform the account's owner."""
    await record_own(session, Kind.SECOND_FACTOR_DISABLED, user_id, origin)
    await notify_owner(session, user_id, Notice.SECOND_FACTOR_OFF)
