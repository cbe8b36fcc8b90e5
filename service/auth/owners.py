"""Notices to the owner of an account."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from service.auth.models import User
from service.notices.notices import Notice, send_notice


async def notify_owner(session: AsyncSession, user_id: UUID, notice: Notice, **detail: str) -> None:
    """Enqueue a notice to the account's present address in the session's transaction.

    `detail` fills the notice's text and holds no secret.
    """
    email = (await session.execute(select(User.email).where(User.id == user_id))).scalar_one()
    await send_notice(session, user_id, email, notice, **detail)
