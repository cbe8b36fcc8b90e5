"""A login after the password check, and the security events of successes and failures."""

from typing import Final
from uuid import UUID

from service.audit.events import Kind, record_alone
from service.auth.credentials import find_credentials, replace_hash
from service.auth.errors import InvalidCredentials, LoginDisabled, LoginIncomplete
from service.auth.opening import open_session
from service.auth.refresh_tokens import RefreshToken, SessionPolicy
from service.auth.rows import CredentialsRow
from service.auth.second_factor.login_tokens import LIFE, open_waiting_login
from service.db.autocommit import Autocommit
from service.web.client import Origin
from service.web.fields import EMAIL_MAX

WRONG_PASSWORD: Final = "wrong password"  # noqa: S105
UNKNOWN_EMAIL: Final = "unknown email"
DISABLED: Final = "account disabled"
# How often a login looks again at an account that changes meanwhile.
ATTEMPTS: Final = 3


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
    LoginDisabled, LoginIncomplete when a second factor is on, or InvalidCredentials when the
    password changed since the account was read.
    """
    if new_hash is not None and user.is_active:
        await replace_hash(db, user.id, user.password_hash, new_hash)
    for _ in range(ATTEMPTS):
        token = await _open(db, user, policy, origin)
        if token is not None:
            return token
        # Something else than the password may have changed: the second factor is on by now, or the
        # account is disabled.
        found = await find_credentials(db, user.email)
        if found is None or found.password_changed_at != user.password_changed_at:
            break
        user = found
    await record_failure(db, origin, user.email, user.id, WRONG_PASSWORD)
    raise InvalidCredentials


async def _open(
    db: Autocommit, user: CredentialsRow, policy: SessionPolicy, origin: Origin
) -> RefreshToken | None:
    """Open a session, or let the login wait; None when the account changed since it was read."""
    if not user.is_active:
        await record_failure(db, origin, user.email, user.id, DISABLED)
        raise LoginDisabled
    if user.second_factor_at is None:
        return await open_session(db, user, policy, origin)
    waiting = await open_waiting_login(db, user)
    if waiting is None:
        return None
    members = {"login_token": waiting.token, "expires_in": LIFE, "factors": waiting.factors}
    raise LoginIncomplete(members=members)


async def record_failure(
    db: Autocommit, origin: Origin, email: str, user_id: UUID | None, reason: str
) -> None:
    """Record a refused login, with what was typed as email, cut to an address's length."""
    detail, kind = {"email": email[:EMAIL_MAX], "reason": reason}, Kind.LOGIN_FAILED
    await record_alone(db, kind, user_id=user_id, actor_id=None, origin=origin, detail=detail)
