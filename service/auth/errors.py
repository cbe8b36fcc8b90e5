"""The errors of authentication."""

from service.auth.tokens import ENDED, EXPIRED
from service.errors import BadRequest, Forbidden, NotFound, TokenRefused, Unauthorized


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


class SessionNotFound(NotFound):
    """The caller has no such session."""

    default_message = "Session not found"
