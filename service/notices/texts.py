"""The words of notices: what happened, when, and what to do if the owner did not do it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from service.notices.notices import Notice

_INTRUDER: Final = (
    "If it was not you, somebody knows your password or uses one of your sessions. Ask at {host} "
    "for a new password by mail at once, which ends all sessions; if that does not help, ask those "
    "who run {host}."
)
# The subject, then the paragraphs.
_TEXTS: Final[Mapping[Notice, tuple[str, ...]]] = {
    Notice.EMAIL_CHANGED: (
        "The address of your account was changed",
        "the email address of your account at {host} was changed at {time}. It was {old}, and is "
        "now {new}.",
        "If it was you, please confirm the new address by the link that was mailed there: until "
        "then, links for a new password come here.",
        "If it was not you, somebody uses your account. Ask at {host} for a new password at once, "
        "with this address: the link comes here as long as the new address is not confirmed, and "
        "a new password ends all sessions. Then sign in with the address {new} and your new "
        "password, and change the address back. If no link comes, ask those who run {host} to "
        "help you.",
    ),
    Notice.SECOND_FACTOR_ON: (
        "A second factor was turned on",
        "a second factor was turned on for your account at {host} at {time}: a login with the "
        "password now asks for a code, too. All other sessions have ended.",
        "If it was not you, somebody uses your account. Ask those who run {host} to turn the "
        "second factor off, and ask there for a new password by mail.",
    ),
    Notice.SECOND_FACTOR_OFF: (
        "The second factor was turned off",
        "the second factor of your account at {host} was turned off at {time}: the authenticator "
        "app and the recovery codes are of no more use, and the password alone is enough for a "
        "login.",
        _INTRUDER,
    ),
    Notice.SECOND_FACTOR_RESET: (
        "An operator turned the second factor off",
        "an operator turned the second factor of your account at {host} off at {time}: its "
        "authenticator app, passkeys and recovery codes are of no more use, all sessions have "
        "ended, and the password alone is enough for a login. Sign in, and turn a second factor on "
        "again.",
        "If you did not ask for it, ask at {host} for a new password by mail at once, and ask "
        "those who run {host} what happened.",
    ),
    Notice.SECOND_FACTOR_LOCKED: (
        "Wrong codes were given for your account",
        "wrong codes were given several times in a row for your account at {host}, last at {time}. "
        "Codes are refused for a while, and for longer after each further wrong one; a recovery "
        "code is accepted meanwhile.",
        "If it was not you, somebody knows your password, or uses one of your sessions, and was "
        "kept out by the second factor. Ask at {host} for a new password by mail: that ends all "
        "sessions.",
    ),
    Notice.AUTHENTICATOR_REPLACED: (
        "An authenticator app was set up",
        "an authenticator app was set up for your account at {host} at {time}. The codes of the "
        "one before it are refused from now on; recovery codes and sessions go on.",
        "If it was not you, somebody uses one of your sessions, and can sign in with the new app "
        "and your password. Ask at {host} for a new password by mail at once, which ends all "
        "sessions; then sign in with a recovery code, set your own app up again, and make new "
        "recovery codes. If you have none, ask those who run {host} to turn the second factor off.",
    ),
    Notice.RECOVERY_CODES_MADE: (
        "New recovery codes were made",
        "new recovery codes were made for your account at {host} at {time}. The old ones are of no "
        "more use.",
        _INTRUDER,
    ),
    Notice.RECOVERY_CODE_USED: (
        "A recovery code was used",
        "a recovery code of your account at {host} was used at {time}. Left are {left}.",
        "If it was not you, somebody has your recovery codes, and your password or one of your "
        "sessions. Ask at {host} for a new password by mail at once, which ends all sessions; then "
        "sign in and make new recovery codes.",
    ),
    Notice.IDENTITY_LINKED: (
        "A sign-in through {provider} was added",
        "a sign-in through {provider} ({person}) was linked to your account at {host} at {time}: "
        "who signs in there is signed in to your account, too.",
        "If it was not you, somebody uses your account. Remove the sign-in in the settings of your "
        "account's security, and ask at {host} for a new password by mail: that ends all sessions, "
        "but removes no sign-in.",
    ),
    Notice.IDENTITY_UNLINKED: (
        "A sign-in through {provider} was removed",
        "the sign-in through {provider} ({person}) was removed from your account at {host} at "
        "{time}: it leads there no more.",
        _INTRUDER,
    ),
    Notice.PASSKEY_ADDED: (
        "A passkey was added",
        'a passkey "{name}" was added to your account at {host} at {time}.',
        "If it was not you, somebody uses your account. Remove the passkey, and ask at {host} for "
        "a new password by mail: that ends all sessions, but removes no passkey.",
    ),
    Notice.PASSKEY_REMOVED: (
        "A passkey was removed",
        'the passkey "{name}" of your account at {host} was removed at {time}: it is of no more '
        "use there.",
        _INTRUDER,
    ),
    Notice.PASSKEY_CLONED: (
        "A passkey may have been copied",
        'the passkey "{name}" of your account at {host} was refused at {time}, because its '
        "counter went back: there may be a copy of it.",
        "Remove it, and add another one. If you do not know why it was copied, look through the "
        "sessions of your account, too.",
    ),
    Notice.KEY_MADE: (
        "An API key was made",
        'the API key "{name}" ({hint}) was made for your account at {host} at {time}.',
        "If it was not you, somebody uses your account. Revoke the key, and ask at {host} for a "
        "new password by mail: that ends all sessions, but no key.",
    ),
    Notice.KEY_ENDS_SOON: (
        "An API key ends soon",
        'the API key "{name}" ({hint}) of your account at {host} ends at {end}. Programs that use '
        "it need another one.",
        "If you do not know this key, revoke it.",
    ),
    Notice.KEY_ENDED: (
        "An API key has ended",
        'the API key "{name}" ({hint}) of your account at {host} has ended: programs that use it '
        "are refused.",
        "If you still need it, make another one.",
    ),
    Notice.KEY_REVOKED: (
        "An API key was found and revoked",
        'somebody found the API key "{name}" ({hint}) of your account at {host}, and revoked it at '
        "{time}: programs that use it are refused.",
        "Others may have read it, too. Look at where it was kept, and make another one if you "
        "still need it.",
    ),
    Notice.KEYS_REVOKED: (
        "An operator revoked your API keys",
        "an operator revoked the API keys of your account at {host} at {time}, {count} in number: "
        "programs that use them are refused.",
        "If you did not ask for it, ask those who run {host} what happened.",
    ),
}


def write_notice(
    notice: Notice, host: str, at: datetime, detail: Mapping[str, str]
) -> tuple[str, str]:
    """Return the subject and the text of a notice."""
    subject, *paragraphs = _TEXTS[notice]
    # On one line each: somebody else may have chosen a key's name, and a paragraph of its own that
    # is a URL would become a link.
    values = {name: " ".join(value.split()) for name, value in detail.items()}
    values |= {"host": host, "time": _show_time(at)}
    text = "\n\n".join(["Hello,", *(part.format(**values) for part in paragraphs)])
    return subject.format(**values), text


def _show_time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
