"""The errors of authentication."""

from collections.abc import Mapping
from typing import ClassVar

from service.auth.tokens import ENDED, EXPIRED
from service.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    TokenRefused,
    TooManyRequests,
    Unauthorized,
)


class InvalidCredentials(Unauthorized):
    """The email is unknown or the password is wrong."""

    default_message = "Invalid credentials"


class SessionGone(TokenRefused):
    """The session has ended, or its account is deleted."""

    default_message = ENDED


class SessionExpired(TokenRefused):
    """The session has expired."""

    default_message = EXPIRED


class RefreshReused(TokenRefused):
    """A spent refresh token was used again, which ended the session."""

    default_message = "The refresh token was used before; the session has ended"
    keeps_changes = True


class AccountDisabled(Forbidden):
    """The account was disabled by an operator."""

    default_message = "Account disabled"


class AdminRequired(Forbidden):
    """The caller is not an administrator."""

    default_message = "Only administrators may do this"


class CsrfRefused(Forbidden):
    """A cookie authenticates a write, and the CSRF token is missing or wrong."""

    default_message = "CSRF token missing or wrong"


class UnknownTransport(BadRequest):
    """X-Token-Transport has an unknown value."""

    default_message = "X-Token-Transport takes cookie, or is left out"


class LoginDisabled(AccountDisabled):
    """The password is right, the account is disabled."""

    keeps_changes = True


class SessionNotFound(NotFound):
    """The caller has no such session."""

    default_message = "Session not found"


class StepUpRequired(Forbidden):
    """The session is not fresh: its user must prove again who they are (`POST /auth/step-up`)."""

    default_message = "Confirm that it is you, and try again"
    reason = "step_up_required"


class EmailUnverified(Forbidden):
    """The account's address is not verified."""

    default_message = "Verify your email address first"
    reason = "email_unverified"


class InsufficientScope(Forbidden):
    """The scopes of the API key do not open this to it (RFC 6750, §3.1)."""

    default_message = "The API key may not do this"
    reason = "insufficient_scope"

    def __init__(self, scope: str | None = None) -> None:
        """`scope` is the one that would open the route, or None when there is none."""
        needed = "" if scope is None else f', scope="{scope}"'
        challenge = f'Bearer error="insufficient_scope"{needed}'
        super().__init__(headers={"WWW-Authenticate": challenge})


class KeyLimit(Conflict):
    """The account has as many API keys as it may have."""

    default_message = "There are too many API keys; revoke one first"
    reason = "key_limit"


class KeyNotFound(NotFound):
    """The caller has no such API key."""

    default_message = "API key not found"


class LastLoginMethod(Conflict):
    """Without this nobody could sign in to the account."""

    default_message = "This is the last way to sign in; add another first"
    reason = "last_login_method"


class SecondFactorRequired(Forbidden):
    """A second factor is on, and was not shown."""

    default_message = "A second factor is required"
    reason = "second_factor_required"


class LoginIncomplete(SecondFactorRequired):
    """The password is right; `login_token` and one of the `factors` open the session."""

    member_schemas: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "login_token": {
            "type": "string",
            "description": "What `POST /auth/login/second-factor` takes, and nothing else.",
            "examples": ["q7vAqkTl3T5mYb0yqk6Hc1t4nKf8Ww2sJ9dXzRvLpUE"],
        },
        "expires_in": {
            "type": "integer",
            "description": "The life of `login_token` in seconds.",
            "examples": [300],
        },
        "factors": {
            "type": "array",
            "description": "What the account can show.",
            "items": {"type": "string"},
            "examples": [["totp", "recovery_code"]],
        },
    }


class PasswordRefused(Forbidden):
    """The password that is to step up a session is wrong."""

    default_message = "The password is wrong"


class CodeRefused(Forbidden):
    """The code that is to step up a session is wrong or spent."""

    default_message = "The code is wrong or has been used"
    reason = "second_factor_failed"
    keeps_changes = True


class SecondFactorFailed(Unauthorized):
    """The code is wrong or spent, or the passkey is not accepted."""

    default_message = "The code is wrong or has been used"
    reason = "second_factor_failed"
    keeps_changes = True


class LoginExpired(Unauthorized):
    """The login token is unknown, spent or too old, or the account changed since."""

    default_message = "The login has expired; sign in again"
    reason = "login_expired"


class SecondFactorLocked(TooManyRequests):
    """Too many wrong codes; Retry-After is how many seconds codes stay locked."""

    default_message = "Too many wrong codes; try again later, or use a recovery code"
    reason = "second_factor_locked"
