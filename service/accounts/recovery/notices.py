"""The mail that informs a verified address of its change, and the job that sends it."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncSession

from service.canonical import email_key
from service.ids import new_id
from service.jobs.context import JobContext
from service.jobs.queue import enqueue
from service.mail import MailMessage
from service.notices.html_mail import html_mail

EMAIL_CHANGE_JOB: Final = "email change notice"
_SUBJECT: Final = "The address of your account was changed"
_TEXT: Final = """\
Hello,

the email address of your account at {host} was changed. It was {old}, and is now {new}.

If it was you, please confirm the new address by the link that was mailed there: until then, links \
for a new password come here.

If it was not you, somebody uses your account. Ask at {host} for a new password at once, with this \
address: the link comes here as long as the new address is not confirmed, and a new password ends \
all sessions. Then sign in with the address {new} and your new password, and change the address \
back. If no link comes, ask those who run {host} to help you."""


async def report_email_change(session: AsyncSession, old: str, new: str) -> None:
    """Enqueue the mail that informs an account's old address of the new one."""
    payload = {"id": str(new_id()), "old": old, "new": new}
    await enqueue(session, EMAIL_CHANGE_JOB, payload, to=email_key(old))


async def send_email_change(context: JobContext, payload: Mapping[str, Any]) -> None:
    """Send the mail about a changed address; a job."""
    host = urlsplit(context.settings.public_address).netloc
    text = _TEXT.format(host=host, old=payload["old"], new=payload["new"])
    mail = MailMessage(
        id=payload["id"],
        to=payload["old"],
        subject=_SUBJECT,
        text=f"{text}\n",
        html=html_mail(_SUBJECT, text),
    )
    await context.mailer.send(mail)
