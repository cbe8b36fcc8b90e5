"""The mails that carry links, and the jobs that send them."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from service.accounts.recovery import links
from service.accounts.recovery.links import OpenLink, Purpose
from service.auth.security import ProtectionRow
from service.canonical import email_key
from service.jobs.context import JobContext
from service.mail import MailMessage
from service.notices.html_mail import html_mail

_SUBJECTS: Final = {
    Purpose.VERIFY_EMAIL: "Please confirm your email address",
    Purpose.RESET_PASSWORD: "Choose a new password",
}
_TEXTS: Final = {
    Purpose.VERIFY_EMAIL: (
        "Hello,\n\nthis address was given for an account at {host}. "
        "If it was you, please confirm it:",
        "The link works once, for three days. If you have no account at {host}, somebody may have "
        "mistyped their address: you need not do anything.",
    ),
    Purpose.RESET_PASSWORD: (
        "Hello,\n\nsomebody asked for a new password for your account at {host}. "
        "If it was you, choose it here:",
        "The link works once, for one hour. If you did not ask for it, you need not do anything: "
        "your password stays as it is.",
    ),
}
# The link went to the last verified address, because the account's own is new and not verified.
_OTHER_ADDRESS: Final = (
    "Your account's address was changed to {account}, which is not confirmed. Sign in with that "
    "address and the new password; if somebody else changed it, change it back."
)
# To an address that an account with more than a password was moved to.
_NOT_ALONE: Final = (
    'The account has the username "{username}", and there are other ways into it than its '
    "password. If you do not know this username, do not confirm the address: somebody else would "
    "keep their way into what then looks like your account."
)
_KEPT: Final = (
    "Beside the password your account has {protection}. A new password leaves them as they are. "
    "Look through them at {host} once you have signed in, in the settings of its security, and "
    "remove what you do not know."
)


def link_mail(link_id: UUID, purpose: Purpose, link: OpenLink, public_address: str) -> MailMessage:
    """Return the mail that carries a link."""
    url = f"{public_address}/{purpose.value}?token={link.token}"
    host = urlsplit(public_address).netloc
    before, after = (text.format(host=host) for text in _TEXTS[purpose])
    paragraphs = [before, url, after]
    if email_key(link.email) != email_key(link.account_email):
        paragraphs.append(_OTHER_ADDRESS.format(account=link.account_email))
    if link.protection and purpose is Purpose.VERIFY_EMAIL:
        paragraphs.append(_NOT_ALONE.format(username=link.username))
    elif link.protection:
        paragraphs.append(_KEPT.format(protection=_name(link.protection), host=host))
    subject, text = _SUBJECTS[purpose], "\n\n".join(paragraphs)
    html = html_mail(subject, text)
    return MailMessage(id=str(link_id), to=link.email, subject=subject, text=f"{text}\n", html=html)


def _name(protection: ProtectionRow) -> str:
    """Return what an account has beside its password, in words."""
    counts = {
        "authenticator app": int(protection.totp_created_at is not None),
        "passkey": protection.passkeys,
        "recovery code": protection.recovery_codes,
        "external sign-in": protection.identities,
        "API key": protection.keys,
    }
    named = [
        f"{count} {thing}{'' if count == 1 else 's'}" for thing, count in counts.items() if count
    ]
    *others, last = named or ["a second factor"]
    return f"{', '.join(others)} and {last}" if others else last


async def send_link(context: JobContext, payload: Mapping[str, Any]) -> None:
    """Send the mail of a link, unless the link has ended; a job."""
    link_id, purpose = UUID(payload["link"]), Purpose(payload["purpose"])
    secret = context.settings.secret_key.get_secret_value()
    async with context.database.transaction() as session:
        link = await links.open_link(session, link_id, purpose, secret)
    if link is not None:
        mail = link_mail(link_id, purpose, link, context.settings.public_address)
        await context.mailer.send(mail)


async def answer_reset_request(context: JobContext, payload: Mapping[str, Any]) -> None:
    """Enqueue the mail of a link for the account with an address, if there is one; a job."""
    async with context.database.transaction() as session:
        await links.answer_reset_request(session, payload["email"], UUID(payload["link"]))
