"""The ways to sign in that an account keeps, of which there must be one."""

from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.auth.credentials import HAS_PASSWORD
from service.auth.errors import LastLoginMethod
from service.auth.external.models import Identity
from service.auth.models import User
from service.auth.passkeys.models import Passkey


async def require_login_method(session: AsyncSession, user_id: UUID, *, without: UUID) -> None:
    """Raise LastLoginMethod unless an account keeps a way to sign in `without` the one of an id.

    That is an identity, or a passkey that signs in alone.

    The account is locked, so that two changes at once do not each rely on what the other removes.
    """
    identity = select(Identity.id).where(Identity.user_id == User.id, Identity.id != without)
    passkey = select(Passkey.id).where(
        Passkey.user_id == User.id, Passkey.kind == "passkey", Passkey.id != without
    )
    others = (one.correlate(User).exists() for one in (identity, passkey))
    keeps = or_(HAS_PASSWORD, *others)
    if not (await session.execute(select(keeps).where(User.id == user_id))).scalar_one():
        raise LastLoginMethod
