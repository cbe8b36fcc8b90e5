"""What operators take from accounts: a lost second factor, API keys and login sessions."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.admin.users import AccountNotFound
from service.audit.events import Kind, record
from service.auth.account_lock import lock_account
from service.auth.api_keys import keys
from service.auth.models import LoginSession
from service.auth.owners import notify_owner
from service.auth.passkeys.queries import forget_passkeys
from service.auth.second_factor.factors import forget_factors
from service.auth.sessions import end_sessions
from service.db.synchronous import require_replication
from service.notices.notices import Notice
from service.web.client import Origin


async def reset_second_factor(
    session: AsyncSession, actor_id: UUID | None, user_id: UUID, origin: Origin
) -> bool:
    """Take an account's factors away and end its sessions; return False if it had none.

    An authenticator app that waits for its first code is gone, too, and so are all passkeys.
    `actor_id` is the operator, None for the command line. Raises AccountNotFound.
    """
    await _lock(session, user_id)
    passkeys = await forget_passkeys(session, user_id)
    if not await forget_factors(session, user_id) and not passkeys:
        return False
    await record(
        session, Kind.SECOND_FACTOR_RESET, user_id=user_id, actor_id=actor_id, origin=origin
    )
    await _end_sessions(session, actor_id, user_id, origin)
    await notify_owner(session, user_id, Notice.SECOND_FACTOR_RESET)
    return True


async def end_all_sessions(
    session: AsyncSession, actor_id: UUID, user_id: UUID, origin: Origin
) -> None:
    """End all login sessions of an account. Raises AccountNotFound."""
    await _lock(session, user_id)
    if not await _end_sessions(session, actor_id, user_id, origin):
        await require_replication(session)


async def _end_sessions(
    session: AsyncSession, actor_id: UUID | None, user_id: UUID, origin: Origin
) -> int:
    """End an account's login sessions, record that if there were any, and return their number."""
    ended = await end_sessions(session, clock.now(), LoginSession.user_id == user_id)
    if ended:
        await record(
            session,
            Kind.SESSION_ENDED,
            user_id=user_id,
            actor_id=actor_id,
            origin=origin,
            detail={"sessions": ended},
        )
    return ended


async def revoke_keys(session: AsyncSession, actor_id: UUID, user_id: UUID, origin: Origin) -> None:
    """Revoke all API keys of an account. Raises AccountNotFound."""
    await _lock(session, user_id)
    revoked = await keys.revoke_keys(session, user_id, actor_id, origin)
    if revoked:
        await notify_owner(session, user_id, Notice.KEYS_REVOKED, count=str(revoked))
    else:
        await require_replication(session)


async def _lock(session: AsyncSession, user_id: UUID) -> None:
    if await lock_account(session, user_id) is None:
        raise AccountNotFound
