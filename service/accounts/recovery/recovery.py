"""The verification of an address and the reset of a password, by mailed links."""

from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.accounts import accounts
from service.accounts.recovery import links
from service.accounts.recovery.links import Purpose
from service.audit.events import Kind, record, record_own
from service.auth.models import User
from service.auth.sessions import revoke_sessions
from service.web.client import Origin

# The account's reset links go to its own address.
_MAILED_THERE: Final = User.email_key == links.RESET_KEY


async def verify_email(session: AsyncSession, token: str, origin: Origin) -> None:
    """Mark the account's address as verified. Raises InvalidLink."""
    account = await links.follow(session, Purpose.VERIFY_EMAIL, token)
    await mark_verified(session, account.id, origin, account.id)


async def reset_password(
    session: AsyncSession, token: str, password_hash: str, origin: Origin
) -> None:
    """Replace the password, and end all sessions and links. Raises InvalidLink.

    Following the link also verifies the account's address, if the mail went there: its owner has
    read it.
    """
    account = await links.follow(session, Purpose.RESET_PASSWORD, token)
    await accounts.set_password(session, account, password_hash)
    await record_own(session, Kind.PASSWORD_RESET, account.id, origin)
    await mark_verified(session, account.id, origin, account.id, _MAILED_THERE)
    await revoke_sessions(session, account.id, origin)


async def mark_verified(
    session: AsyncSession,
    user_id: UUID,
    origin: Origin,
    actor_id: UUID | None,
    *conditions: ColumnElement[bool],
) -> None:
    """Mark an account's address as verified, unless it is; conditions are further ones.

    `actor_id` is who proved it, None for the command line.
    """
    statement = (
        update(User)
        .where(User.id == user_id, User.email_verified_at.is_(None), *conditions)
        .values(
            email_verified_at=clock.now(),
            verified_email=None,
            verified_email_key=None,
            email_changed_at=None,
        )
        .returning(User.id)
    )
    if (await session.execute(statement)).scalar_one_or_none() is not None:
        await record(
            session, Kind.EMAIL_VERIFIED, user_id=user_id, actor_id=actor_id, origin=origin
        )
