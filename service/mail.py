"""Mail: made into a message (RFC 5322) and handed to the server of SMTP_URL.

`smtp://` takes up STARTTLS when the server offers it, and insists on it where a password would
leave this machine; `smtps://` speaks TLS from the start; `log:` writes the mail to the log. Errors
carry a note for the operator (PEP 678): what is wrong, and which setting changes it.
"""

import asyncio
import ipaddress
import re
import ssl
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, parseaddr
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import aiosmtplib
import structlog
from email_validator import validate_email

from service import clock
from service.settings import Settings, SettingsError

REPLY_TIMEOUT: Final = 30  # seconds for each reply of the server
SEND_TIMEOUT: Final = 60  # seconds for the whole mail
GREETING_TIMEOUT: Final = 10  # seconds to ask a server what it offers
_NO_SMTPUTF8: Final = (
    "MAIL_FROM: has letters beyond ASCII before the @, and the server of SMTP_URL does not offer "
    "SMTPUTF8"
)
_ADDRESS: Final = re.compile(r"[^@\s<>,;:\"\x00-\x1f]+@[^@\s<>,;\"\x00-\x1f]+")
_PORTS: Final = {"smtp": 25, "smtps": 465}
_SUBMISSION_PORT: Final = 587  # where one signs in (RFC 6409)

log: Final = structlog.get_logger(__name__)


class Undeliverable(Exception):
    """The server refused the mail for good: to try again would be useless."""


@dataclass(frozen=True, slots=True)
class MailMessage:
    """A mail to one person, as text and as HTML.

    `id` names it for ever: a mail that is sent twice, after a crash, has one Message-ID.
    """

    id: str
    to: str
    subject: str
    text: str
    html: str


class Mailer(Protocol):
    """Sends mails."""

    async def send(self, mail: MailMessage) -> None:
        """Send; returns once the server has taken the mail over.

        Raises Undeliverable when it never will; any other error may pass by itself.
        """


def make_mailer(settings: Settings) -> Mailer:
    """Make the mailer that SMTP_URL asks for. Raises SettingsError when SMTP_TLS contradicts."""
    if settings.mail_url == "log:":
        return LogMailer(settings.mail_from)
    return SmtpMailer(settings)


async def refuse_unusable_sender(settings: Settings) -> None:
    """Raise SettingsError where MAIL_FROM needs what the mail server does not offer.

    Only a server that answers can be asked; while it does not, nothing is refused.
    """
    mailer = make_mailer(settings)
    if isinstance(mailer, SmtpMailer):
        await mailer.refuse_unusable_sender()


class LogMailer:
    """Writes mails to the log instead of sending them."""

    def __init__(self, sender: str) -> None:
        self._sender = sender

    async def send(self, mail: MailMessage) -> None:
        """Log the mail's headers and text."""
        message = compose(mail, self._sender)
        headers = "\n".join(f"{name}: {message[name]}" for name in ("From", "To", "Subject"))
        shown = f"mail, written here because SMTP_URL is log:\n{headers}\n\n{mail.text}"
        log.info(shown)


class SmtpMailer:
    """Sends mails through an SMTP server (RFC 5321)."""

    def __init__(self, settings: Settings) -> None:
        parts = urlsplit(settings.mail_url)
        self._sender = settings.mail_from
        self._sender_is_ascii = _split(parseaddr(self._sender)[1])[0].isascii()
        self.host = parts.hostname or "localhost"
        self._tls = parts.scheme == "smtps"
        self._username = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None
        signs_in = self._username is not None and not self._tls
        self._port = parts.port or (_SUBMISSION_PORT if signs_in else _PORTS[parts.scheme])
        needs_tls = self._tls or (signs_in and not is_local(self.host))
        off = settings.smtp_tls == "off"
        if off and needs_tls:
            raise SettingsError("SMTP_TLS: can't be off for smtps://, nor where a password is sent")
        # None: when offered.
        self._start_tls = False if self._tls or off else (needs_tls or None)
        self.verifies = settings.smtp_tls == "verify"

    async def send(self, mail: MailMessage) -> None:
        """Send a mail over a connection of its own."""
        message = compose(mail, self._sender)
        client = self.client()
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await client.connect()
                await client.send_message(
                    message,
                    sender=_envelope(parseaddr(self._sender)[1]),
                    recipients=[_envelope(mail.to)],
                )
                # The mail is the server's now, whatever becomes of the farewell.
                with suppress(aiosmtplib.SMTPException):
                    await client.quit()
        except (OSError, aiosmtplib.SMTPException) as error:
            if self._is_final(error):
                raise Undeliverable(str(error)) from error
            if note := self.note(error):
                error.add_note(note)
            raise
        finally:
            # At once: the library itself would say goodbye first, and wait for the answer.
            client.close()
        log.info("mail sent", message_id=message["Message-ID"])

    def client(self, timeout: float = REPLY_TIMEOUT) -> aiosmtplib.SMTP:
        """Make a client with `timeout` seconds for each reply; it is not connected yet."""
        return aiosmtplib.SMTP(
            hostname=self.host,
            port=self._port,
            username=self._username,
            password=self._password,
            use_tls=self._tls,
            start_tls=self._start_tls,
            validate_certs=self.verifies,
            timeout=timeout,
        )

    @property
    def server(self) -> str:
        """The server's address, for people."""
        return f"{self.host}:{self._port}"

    @property
    def signs_in(self) -> bool:
        """Whether the server asks who sends."""
        return self._username is not None

    async def refuse_unusable_sender(self) -> None:
        """Raise SettingsError where the server does not take the sender (RFC 6531)."""
        if self._sender_is_ascii:
            return
        client = self.client()
        try:
            async with asyncio.timeout(GREETING_TIMEOUT):
                await client.connect()
                await client.ehlo()
        except (OSError, aiosmtplib.SMTPException):
            return
        else:
            if not client.supports_extension("smtputf8"):
                raise SettingsError(_NO_SMTPUTF8)
        finally:
            client.close()

    def _is_final(self, error: Exception) -> bool:
        """Whether the server will never take this mail: 5yz for the recipient or the content.

        A sender or a password that is refused is the configuration's fault, which an operator
        mends.
        """
        if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
            return all(refused.code >= 500 for refused in error.recipients)
        if isinstance(error, (aiosmtplib.SMTPRecipientRefused, aiosmtplib.SMTPDataError)):
            return error.code >= 500
        return isinstance(error, aiosmtplib.SMTPNotSupported) and self._sender_is_ascii

    def note(self, error: Exception) -> str | None:
        """Return what an operator can do about a failure, or None."""
        server = self.server
        # The library raises a failed handshake as it is, or as the cause of its own error.
        tls = next((e for e in (error, error.__cause__) if isinstance(e, ssl.SSLError)), None)
        match tls or error:
            case ssl.SSLCertVerificationError() as wrong:
                return (
                    f"The certificate of {server} is not trusted ({wrong.verify_message}): name "
                    "its authority in SSL_CERT_FILE, or set SMTP_TLS=opportunistic to take any."
                )
            case ssl.SSLError() as wrong:
                other = "smtp:// in SMTP_URL" if self._tls else "SMTP_TLS=off"
                return f"TLS with {server} fails ({wrong.reason}): {other} does without it."
            case aiosmtplib.SMTPAuthenticationError():
                return f"{server} refuses the user or the password of SMTP_URL."
            case aiosmtplib.SMTPSenderRefused() as refused:
                return f"{server} refuses the sender, MAIL_FROM: {refused.message}"
            case aiosmtplib.SMTPNotSupported():
                return _NO_SMTPUTF8
            case aiosmtplib.SMTPConnectError() | OSError():  # TimeoutError too
                return f"No mail server answers at {server}: start it, or change SMTP_URL."
            case _ if self._start_tls and "STARTTLS" in str(error):
                return f"{server} offers no STARTTLS, without which no password is sent: SMTP_URL."
            case _ if "AUTH extension is not supported" in str(error):
                return f"{server} takes no user and password (AUTH): leave them out of SMTP_URL."
            case _:
                return None


def compose(mail: MailMessage, sender: str) -> EmailMessage:
    """Make the message. Raises Undeliverable, or ValueError where a header would break."""
    name, address = parseaddr(sender)
    address, recipient = _envelope(address), _envelope(mail.to)
    # Letters beyond ASCII before the @ need a server that takes them (RFC 6531).
    policy = SMTP if f"{address}{recipient}".isascii() else SMTPUTF8
    message = EmailMessage(policy)
    message["From"] = Address(name, *_split(address))
    message["To"] = Address("", *_split(recipient))
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = f"<{mail.id}@{address.rpartition('@')[2]}>"
    # No holiday notices in return (RFC 3834, §5).
    message["Auto-Submitted"] = "auto-generated"
    # Unencoded where possible: links stay whole in the raw mail too.
    message.set_content(mail.text, cte="7bit" if mail.text.isascii() else None)
    message.add_alternative(mail.html, subtype="html", cte="7bit" if mail.html.isascii() else None)
    return message


def _envelope(address: str) -> str:
    """Return an address in NFC (RFC 6532, §3.1), with its domain as the DNS writes it (IDNA).

    Raises Undeliverable for what could be taken for several addresses, or for more than one line.
    """
    if not _ADDRESS.fullmatch(address):
        raise Undeliverable("the address is not one that mail can be sent to")
    local, domain = _split(unicodedata.normalize("NFC", address))
    if not domain.isascii():
        # Syntax only: the library knows IDNA 2008, Python's own codec that of 2003.
        domain = validate_email(
            f"anyone@{domain}", check_deliverability=False, globally_deliverable=False
        ).ascii_domain
    return f"{local}@{domain}"


def _split(address: str) -> tuple[str, str]:
    local, _, domain = address.rpartition("@")
    return local, domain


def is_local(host: str) -> bool:
    """Return whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
