"""Why a caller is refused."""

from service.auth.tokens import ENDED, EXPIRED
from service.errors import BadRequest, Forbidden, NotFound, TokenRefused, Unauthorized


class InvalidCredentials(Unauthorized):
    """The email is unknown or the password is wrong; which, is not told."""

    default_message = "Invalid credentials"
    keeps_changes = True


class SessionGone(TokenRefused):
    """The session was ended, or its account is deleted."""

    default_message = ENDED


class SessionExpired(TokenRefused):
    """The session's time is over."""

    default_message = EXPIRED


class RefreshReused(TokenRefused):
    """A refresh token was shown after it was spent: the session ended, whoever showed it."""

    default_message = "The refresh token was used before; the session has ended"
    keeps_changes = True


class AccountDisabled(Forbidden):
    """The account was disabled by an operator."""

    default_message = "Account disabled"


class AdminRequired(Forbidden):
    """Only operators may do this."""

    default_message = "Only administrators may do this"


class CsrfRefused(Forbidden):
    """A cookie authenticates a request that may write, and X-CSRF-Token does not confirm it."""

    default_message = "CSRF token missing or wrong"


class UnknownTransport(BadRequest):
    """X-Token-Transport asks for what there is not."""

    default_message = "X-Token-Transport takes cookie, or is left out"


class LoginDisabled(AccountDisabled):
    """The password is right, the account is disabled."""

    keeps_changes = True


class SessionNotFound(NotFound):
    """The caller has no such session."""

    default_message = "Session not found"
