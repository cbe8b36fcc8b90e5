"""The errors of passkeys."""

from service.errors import Conflict, Forbidden, NotFound, Unauthorized


class PasskeysOff(NotFound):
    """There are no passkeys here: WEBAUTHN_RP_ID has no default under an IP address."""

    default_message = "Passkeys are not available here"


class NoRelatedOrigins(NotFound):
    """No origins outside the domain may use its passkeys."""

    default_message = "There are no related origins"


class PasskeyNotFound(NotFound):
    """The caller has no such passkey."""

    default_message = "Passkey not found"


class PasskeyRefused(Forbidden):
    """The passkey that the caller shows is not accepted."""

    default_message = "The passkey was not accepted; try again"
    reason = "passkey_refused"
    keeps_changes = True


class PasskeyLoginRefused(Unauthorized):
    """The passkey of a login is not accepted."""

    default_message = "The passkey was not accepted; try again"
    reason = "passkey_refused"
    keeps_changes = True


class PasskeyUnknown(Unauthorized):
    """No account has the passkey of a login."""

    default_message = "The passkey is not known here"
    reason = "passkey_unknown"


class PasskeyExists(Conflict):
    """The passkey is registered already."""

    default_message = "This passkey is registered already"


class TooManyPasskeys(Conflict):
    """The account has as many passkeys as it may."""

    default_message = "You have 20 passkeys; remove one first"


class NoPasskeys(Conflict):
    """The account has no passkey."""

    default_message = "You have no passkey"
