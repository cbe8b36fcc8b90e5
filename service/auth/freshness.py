"""Freshness: how long ago the user of a session last proved who they are, for what needs it.

A session is fresh for STEP_UP_MAX_AGE seconds after its login or its last step-up. Refreshing makes
nothing fresh.
"""

from service.auth.errors import EmailUnverified, StepUpRequired
from service.auth.guards import require_session
from service.auth.principal import caller
from service.auth.security import SecurityRow, find_security, fresh_until, step_up_methods, uses_any
from service.web.db_session import db_session
from service.web.request_state import request_state


async def caller_security() -> SecurityRow:
    """Return what protects the caller's account, and how the caller's session was opened.

    Raises InsufficientScope (403) for an API key, which has no session.
    """
    require_session()
    return await find_security(db_session(), caller().claims.session_id)


async def require_fresh() -> SecurityRow:
    """Raise StepUpRequired (403) unless the caller's session is fresh."""
    security = await caller_security()
    _check(security)
    return security


async def require_fresh_if_protected() -> SecurityRow:
    """Raise StepUpRequired (403) when the account has a second factor or a key, and is not fresh.

    Accounts with a password alone change as ever.
    """
    security = await caller_security()
    if uses_any(security):
        _check(security)
    return security


def require_verified_email() -> None:
    """Raise EmailUnverified (403) unless the caller's address is verified.

    Who registers somebody else's address leaves nothing behind that outlives the owner's reset of
    the password.
    """
    if not caller().account.email_verified:
        raise EmailUnverified


def _check(security: SecurityRow) -> None:
    if fresh_until(security, request_state().app.settings.step_up_max_age) is None:
        raise StepUpRequired(members={"methods": step_up_methods(security)})
