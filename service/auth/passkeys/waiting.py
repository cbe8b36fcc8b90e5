"""The account of a login that waits for its second factor, as its passkeys are asked for."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.auth.credentials import NOT_DELETED
from service.auth.errors import AccountDisabled, LoginExpired
from service.auth.models import User
from service.auth.second_factor.login_tokens import FAILURES_MAX, digest_of
from service.auth.second_factor.models import LoginToken


async def find_waiting_user(session: AsyncSession, login_token: str) -> UUID:
    """Return the id of the account that a login token is of.

    Raises LoginExpired (401) or AccountDisabled (403).
    """
    statement = (
        select(
            User.id, User.is_active, (LoginToken.sign_in_epoch == User.sign_in_epoch).label("same")
        )
        .join(User, User.id == LoginToken.user_id)
        .where(
            LoginToken.digest == digest_of(login_token),
            LoginToken.expires_at > clock.now(),
            LoginToken.failures < FAILURES_MAX,
            NOT_DELETED,
        )
    )
    user = (await session.execute(statement)).one_or_none()
    if user is None:
        raise LoginExpired
    if not user.is_active:
        raise AccountDisabled
    if not user.same:
        raise LoginExpired
    user_id: UUID = user.id
    return user_id
