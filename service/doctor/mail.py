"""The mail server: greeting, TLS and the user, as mails need them. No mail is sent."""

from typing import Final

import aiosmtplib

from service.doctor.certificates import Certificate, ends_at, report
from service.doctor.findings import Deployment, Findings
from service.mail import SmtpMailer, is_local, make_mailer
from service.settings import SettingsError

SECONDS: Final = 3.0


async def check(deployment: Deployment, found: Findings) -> None:
    """Sign in as the worker does, and say goodbye."""
    try:
        mailer = make_mailer(deployment.settings)
    except SettingsError as error:
        found.problem(str(error), "correct SMTP_TLS or SMTP_URL")
        return
    if not isinstance(mailer, SmtpMailer):
        found.skipped("SMTP_URL is log: mails are written to the log")
        return
    client = mailer.client(SECONDS)
    try:
        await client.connect()
        await client.noop()
        _report(mailer, client, found)
        await mailer.refuse_unusable_sender()
        await client.quit()
    except SettingsError as error:
        found.problem(str(error), "correct MAIL_FROM")
    except (OSError, aiosmtplib.SMTPException) as error:
        words = mailer.note(error) or f"{mailer.server} does not work ({type(error).__name__})"
        found.problem(words.rstrip("."), "see SMTP_URL and SMTP_TLS")
    finally:
        client.close()


def _report(mailer: SmtpMailer, client: aiosmtplib.SMTP, found: Findings) -> None:
    tls = client.get_transport_info("ssl_object")
    signed_in = ", and takes the user" if mailer.signs_in else ""
    found.ok(f"{mailer.server} greets{signed_in}")
    if tls is not None:
        shown = tls.getpeercert(binary_form=True)
        certificate = Certificate(ends_at(shown))
        report(found, mailer.server, certificate, "see SMTP_TLS")
        if not mailer.verifies:
            found.warning(
                "SMTP_TLS is opportunistic: mails go to whatever server answers",
                "set SMTP_TLS=verify, with the server's authority in SSL_CERT_FILE",
            )
    elif not is_local(mailer.host):
        found.warning(
            f"mails, and the links in them, go to {mailer.server} without TLS",
            "use smtps:// in SMTP_URL, or a server with STARTTLS and SMTP_TLS=verify",
        )
