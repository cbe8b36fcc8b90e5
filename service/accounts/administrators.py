"""Making administrators."""

from uuid import UUID

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from service.accounts.models import User
from service.audit.events import INTERNAL, Kind, Origin, record


async def grant_admin(
    session: AsyncSession, user_id: UUID, *, actor_id: UUID | None = None, origin: Origin = INTERNAL
) -> bool:
    """Make an account an administrator's; False when it was one already, or is deleted."""
    statement = (
        update(User)
        .where(User.id == user_id, User.deleted_at.is_(None), User.is_admin.is_(False))
        .values(is_admin=True)
        .returning(User.id)
    )
    if (await session.execute(statement)).one_or_none() is None:
        return False
    await record(session, Kind.ADMIN_GRANTED, user_id=user_id, actor_id=actor_id, origin=origin)
    return True
