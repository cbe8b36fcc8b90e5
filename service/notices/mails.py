"""The jobs that send notices."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from service.jobs.context import JobContext
from service.mail import MailMessage
from service.notices.html_mail import html_mail
from service.notices.notices import Notice
from service.notices.texts import write_notice

# Jobs of an older release, which may still be in the queue.
EMAIL_CHANGE_JOB: Final = "email change notice"


async def send_notice_mail(context: JobContext, payload: Mapping[str, Any]) -> None:
    """Send the mail of a notice; a job."""
    at = datetime.fromisoformat(payload["at"])
    notice, detail = Notice(payload["notice"]), payload["detail"]
    await _send(context, payload["id"], payload["to"], notice, at, detail)


async def send_email_change(context: JobContext, payload: Mapping[str, Any]) -> None:
    """Send the mail about a changed address; a job of an older release."""
    # Its id is a UUIDv7, which begins with the milliseconds since 1970 (RFC 9562, §5.7).
    at = datetime.fromtimestamp((UUID(payload["id"]).int >> 80) / 1000, UTC)
    await _send(context, payload["id"], payload["old"], Notice.EMAIL_CHANGED, at, payload)


async def _send(
    context: JobContext,
    mail_id: str,
    to: str,
    notice: Notice,
    at: datetime,
    detail: Mapping[str, str],
) -> None:
    host = urlsplit(context.settings.public_address).netloc
    subject, text = write_notice(notice, host, at, detail)
    html = html_mail(subject, text)
    await context.mailer.send(
        MailMessage(id=mail_id, to=to, subject=subject, text=f"{text}\n", html=html)
    )
