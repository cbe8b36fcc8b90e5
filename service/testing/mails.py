"""A real SMTP server, and the mails that it took."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any, Final, Literal

from aiosmtpd.smtp import SMTP

from service.testing.background import BackgroundLoop

PATIENCE: Final = 20.0  # seconds


class SmtpServer:
    """Takes mails on a port of 127.0.0.1; for the loop that it was started in."""

    def __init__(self, **options: Any) -> None:
        self.mails: list[EmailMessage] = []
        self.port = 0
        self._ssl = options.pop("ssl_context", None)
        self._options = options  # of aiosmtpd
        self.arrived = asyncio.Condition()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """What SMTP_URL takes."""
        return f"smtp://127.0.0.1:{self.port}"

    async def up(self) -> None:
        """Listen, on the same port each time."""
        loop = asyncio.get_running_loop()

        def protocol() -> SMTP:
            return SMTP(self, hostname="mail.test", loop=loop, **self._options)

        self._server = await loop.create_server(protocol, "127.0.0.1", self.port, ssl=self._ssl)
        self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        """Take a mail; aiosmtpd calls this."""
        parser = BytesParser(EmailMessage, policy=policy.default)
        async with self.arrived:
            self.mails.append(parser.parsebytes(envelope.original_content))
            self.arrived.notify_all()
        return "250 OK"


@asynccontextmanager
async def smtp_server() -> AsyncIterator[SmtpServer]:
    """A mail server that takes everything, until the block ends."""
    server = SmtpServer()
    await server.up()
    try:
        yield server
    finally:
        await server.down()


class Mails:
    """What the service sent in a test, for use in any loop."""

    def __init__(self, server: SmtpServer, loop: BackgroundLoop) -> None:
        self._server = server
        self._loop = loop
        self._returned: list[EmailMessage] = []

    @property
    def sent(self) -> list[EmailMessage]:
        """Every mail so far, the oldest first."""
        return list(self._server.mails)

    async def next(self, to: str | None = None, *, seconds: float = PATIENCE) -> EmailMessage:
        """Wait for a mail that was not returned before, to this address when one is given.

        Raises TimeoutError when none comes in time.
        """
        return await asyncio.wrap_future(self._loop.submit(self._next(to, seconds)))

    async def _next(self, to: str | None, seconds: float) -> EmailMessage:
        async with asyncio.timeout(seconds), self._server.arrived:
            await self._server.arrived.wait_for(lambda: self._waiting(to))
            mail = self._waiting(to)[0]
        self._returned.append(mail)
        return mail

    def _waiting(self, to: str | None) -> list[EmailMessage]:
        return [
            mail
            for mail in self._server.mails
            if to in (None, mail["To"].addresses[0].addr_spec)
            and not any(mail is returned for returned in self._returned)
        ]


def part(mail: EmailMessage, kind: Literal["plain", "html"]) -> str:
    """Return a mail's plain text or its HTML."""
    body = mail.get_body((kind,))
    if body is None:
        raise LookupError(f"the mail has no part text/{kind}")
    text: str = body.get_content()
    return text.replace("\r\n", "\n")


def link(mail: EmailMessage) -> str:
    """Return the link in a mail. Raises ValueError unless there is exactly one."""
    [url] = re.findall(r"https?://\S+", part(mail, "plain"))
    return str(url)


def token(mail: EmailMessage) -> str:
    """Return the token of the link in a mail."""
    return link(mail).partition("?token=")[2]
