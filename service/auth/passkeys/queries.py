"""What other parts of authentication ask of an account's passkeys, or do to all of them."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.auth.passkeys.models import Passkey
from service.db.database import execute_count


async def has_passkey(session: AsyncSession, user_id: UUID) -> bool:
    """Whether an account has a passkey of either kind."""
    statement = select(exists().where(Passkey.user_id == user_id))
    return bool((await session.execute(statement)).scalar_one())


async def find_credential_ids(session: AsyncSession, user_id: UUID, rp_id: str) -> Sequence[bytes]:
    """Return the ids of an account's credentials that are bound to a relying party."""
    statement = select(Passkey.credential_id).where(
        Passkey.user_id == user_id, Passkey.rp_id == rp_id
    )
    return (await session.execute(statement.order_by(Passkey.id))).scalars().all()


async def forget_passkeys(session: AsyncSession, user_id: UUID) -> int:
    """Delete all passkeys of an account, which is locked, and return their number."""
    return await execute_count(session, delete(Passkey).where(Passkey.user_id == user_id))
