"""The verification of an address and the reset of a password, by mailed links."""

from uuid import UUID

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.accounts import accounts
from service.accounts.recovery import links
from service.accounts.recovery.links import Purpose
from service.audit.events import Kind, record_own
from service.auth.models import User
from service.auth.sessions import revoke_sessions
from service.web.client import Origin


async def verify_email(session: AsyncSession, token: str, origin: Origin) -> None:
    """Mark the account's address as verified. Raises InvalidLink."""
    account = await links.follow(session, Purpose.VERIFY_EMAIL, token)
    await _mark_verified(session, account.id, origin)


async def reset_password(
    session: AsyncSession, token: str, password_hash: str, origin: Origin
) -> None:
    """Replace the password, and end all sessions and links. Raises InvalidLink.

    Following the link also verifies the address, because its owner has read the mail.
    """
    account = await links.follow(session, Purpose.RESET_PASSWORD, token)
    await accounts.set_password(session, account, password_hash)
    await record_own(session, Kind.PASSWORD_RESET, account.id, origin)
    await _mark_verified(session, account.id, origin)
    await revoke_sessions(session, account.id, origin)


async def _mark_verified(session: AsyncSession, user_id: UUID, origin: Origin) -> None:
    statement = (
        update(User)
        .where(User.id == user_id, User.email_verified_at.is_(None))
        .values(email_verified_at=clock.now())
        .returning(User.id)
    )
    if (await session.execute(statement)).scalar_one_or_none() is not None:
        await record_own(session, Kind.EMAIL_VERIFIED, user_id, origin)
