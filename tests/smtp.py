"""A real SMTP server in the test's own loop, and the mails that it took."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP


class SmtpServer:
    """Takes mails on 127.0.0.1; it can be down, refuse, or be stopped in the middle of a mail."""

    def __init__(self, **options: Any) -> None:
        self.mails: list[EmailMessage] = []
        self.envelopes: list[Any] = []
        self.refusals: dict[str, str] = {}  # replies to RCPT by address
        # Set by the server when a mail's data has come; it answers once `may_answer` is set.
        self.has_data = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._ssl: ssl.SSLContext | None = options.pop("ssl_context", None)
        self._options = options
        self.port = 0
        self._arrived = asyncio.Condition()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
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

    async def handle_RCPT(  # noqa: N802
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        self.has_data.set()
        await self.may_answer.wait()
        message = message_from_bytes(envelope.original_content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        async with self._arrived:
            self.mails.append(message)
            self.envelopes.append(envelope)
            self._arrived.notify_all()
        return "250 OK"

    async def wait_for(self, count: int, seconds: float = 20) -> list[EmailMessage]:
        """Wait until so many mails have arrived."""
        async with asyncio.timeout(seconds), self._arrived:
            await self._arrived.wait_for(lambda: len(self.mails) >= count)
        return self.mails


@asynccontextmanager
async def smtp_server(**options: Any) -> AsyncIterator[SmtpServer]:
    """A server that is up; `options` are aiosmtpd's, and `ssl_context` for TLS from the start."""
    server = SmtpServer(**options)
    await server.up()
    try:
        yield server
    finally:
        server.may_answer.set()
        await server.down()


def part(mail: EmailMessage, kind: str) -> str:
    """The mail's text in plain or html."""
    body = mail.get_body((kind,))
    assert body is not None
    text: str = body.get_content()
    return text.replace("\r\n", "\n")


def link(mail: EmailMessage) -> str:
    """The link in a mail; both parts must have the same."""
    [url] = re.findall(r"https?://\S+", part(mail, "plain"))
    assert f'href="{url}"' in part(mail, "html")
    found: str = url
    return found


def token(mail: EmailMessage) -> str:
    """The token of the link in a mail."""
    return link(mail).partition("?token=")[2]
