"""The errors of sign-in through external providers."""

from service.errors import BadRequest, Conflict, Forbidden, NotFound, Unauthorized, Unavailable


class ProviderUnavailable(Unavailable):
    """The provider does not answer, or not as it must."""

    default_message = "The provider cannot be reached at present; try again later"
    reason = "provider_unavailable"

    def __init__(self, message: str | None = None, *, retry_after: int = 5) -> None:
        super().__init__(message, retry_after=retry_after)


class ProviderRefused(Unauthorized):
    """The provider refused its code, or what it says of the person is not acceptable."""

    default_message = "The provider did not confirm who you are; sign in again"
    reason = "provider_refused"


class ProviderNotFound(NotFound):
    """There is no such provider."""

    default_message = "Provider not found"


class CodeInvalid(BadRequest):
    """The code is unknown, spent or older than 120 seconds, or the verifier is not its own."""

    default_message = "The sign-in is invalid, has been used or has expired; begin again"


class AddressUnproven(Forbidden):
    """The provider does not vouch for an email address of the person."""

    default_message = "The provider does not confirm an email address of yours"
    reason = "email_unverified"


class LinkRequired(Forbidden):
    """An account has the address: its owner signs in there, and links the identity."""

    default_message = "There is an account with this email address; sign in to it and link this one"
    reason = "link_required"


class IdentityTaken(Conflict):
    """The identity is linked to another account."""

    default_message = "This sign-in is linked to another account"


class IdentityLimit(Conflict):
    """The account has as many identities as it may have."""

    default_message = "There are too many linked sign-ins; remove one first"
    reason = "identity_limit"


class IdentityNotFound(NotFound):
    """The caller has no such identity."""

    default_message = "Linked sign-in not found"
