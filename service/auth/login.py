"""A login after the password check, and the security events of successes and failures."""

from typing import Final
from uuid import UUID

from service.audit.events import Kind, record_alone
from service.auth.credentials import replace_hash
from service.auth.errors import InvalidCredentials, LoginDisabled
from service.auth.opening import open_session
from service.auth.refresh_tokens import RefreshToken, SessionPolicy
from service.auth.rows import CredentialsRow
from service.db.autocommit import Autocommit
from service.web.client import Origin
from service.web.fields import EMAIL_MAX

WRONG_PASSWORD: Final = "wrong password"  # noqa: S105
UNKNOWN_EMAIL: Final = "unknown email"
DISABLED: Final = "account disabled"


async def log_in(
    db: Autocommit,
    user: CredentialsRow,
    policy: SessionPolicy,
    origin: Origin,
    *,
    new_hash: str | None,
) -> RefreshToken:
    """Open a login session for an account whose password was right, and return its refresh token.

    `new_hash` replaces the password's hash, unless the password changed meanwhile. Raises
    LoginDisabled, or InvalidCredentials when the account changed since it was read.
    """
    if not user.is_active:
        await record_failure(db, origin, user.email, user.id, DISABLED)
        raise LoginDisabled
    if new_hash is not None:
        await replace_hash(db, user.id, user.password_hash, new_hash)
    token = await open_session(db, user, policy, origin)
    if token is None:
        await record_failure(db, origin, user.email, user.id, WRONG_PASSWORD)
        raise InvalidCredentials
    return token


async def record_failure(
    db: Autocommit, origin: Origin, email: str, user_id: UUID | None, reason: str
) -> None:
    """Record a refused login, with what was typed as email, cut to an address's length."""
    detail, kind = {"email": email[:EMAIL_MAX], "reason": reason}, Kind.LOGIN_FAILED
    await record_alone(db, kind, user_id=user_id, actor_id=None, origin=origin, detail=detail)
