"""The plugin's SMTP server, in the test's own loop, with what goes wrong with such servers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import Any

from service.testing import mails
from tests.support.polling import PATIENCE


class SmtpServer(mails.SmtpServer):
    """It can be down, refuse, or be stopped in the middle of a mail."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.envelopes: list[Any] = []
        self.refusals: dict[str, str] = {}  # replies to RCPT by address
        # Set by the server when a mail's data has come; it answers once `may_answer` is set.
        self.has_data = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def handle_RCPT(  # noqa: N802
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.has_data.set()
        await self.may_answer.wait()
        self.envelopes.append(envelope)
        return await super().handle_DATA(server, session, envelope)

    async def wait_for(self, count: int, seconds: float = PATIENCE) -> list[EmailMessage]:
        """Wait until so many mails have arrived."""
        async with asyncio.timeout(seconds), self.arrived:
            await self.arrived.wait_for(lambda: len(self.mails) >= count)
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
