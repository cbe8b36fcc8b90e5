"""A client of Server-Sent Events as browsers are: it remembers where it was and resumes there."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from service.settings import ServerName
from service.testing.server import serving
from service.web.server.application import Service
from tests.support.polling import PATIENCE
from tests.support.server import exchange, head


@asynccontextmanager
async def streaming(app: Service, server: ServerName = "hypercorn") -> AsyncIterator[int]:
    """Serve the application, and end its streams as at SIGTERM; yields the port."""
    async with serving(app, server=server) as port:
        await exchange(port, head("GET", "/health/live"))  # it serves
        try:
            yield port
        finally:
            app.shutdown_state.begin()


@dataclass
class Event:
    """An event, its data read as JSON."""

    id: str
    kind: str
    data: Any


@dataclass
class EventSource:
    """One client; `connected` may be entered again and again."""

    port: int
    last_id: str | None = None
    head: str = ""
    _reader: asyncio.StreamReader = field(init=False)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["EventSource"]:
        """Connect, and read the stream's beginning."""
        self._reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
        try:
            # To HTTP/1.0 a body is sent as it is, until the connection ends.
            writer.write(b"GET /api/posts/stream HTTP/1.0\r\nHost: localhost\r\n")
            if self.last_id is not None:
                writer.write(f"Last-Event-ID: {self.last_id}\r\n".encode())
            writer.write(b"\r\n")
            async with asyncio.timeout(PATIENCE):
                self.head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
                if " 200 " in self.head:
                    await self.block()
            yield self
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def next(self) -> Event:
        """Wait for the next event; raises EOFError when the stream has ended."""
        async with asyncio.timeout(PATIENCE):
            while True:
                fields = await self.block()
                if "event" in fields:
                    return Event(fields["id"], fields["event"], json.loads(fields["data"]))

    async def take(self, count: int) -> list[Event]:
        """Wait for so many events."""
        return [await self.next() for _ in range(count)]

    async def rest(self) -> list[Event]:
        """Read until the stream ends; an event that was cut off does not count."""
        events = []
        try:
            while True:
                events.append(await self.next())
        except EOFError:
            return events

    async def block(self) -> dict[str, str]:
        """Wait for the next block of lines, a comment or the fields of an event."""
        block = (await self._reader.readuntil(b"\n\n")).decode()
        lines = (line.partition(": ") for line in block.split("\n") if line)
        fields = {name: value for name, _, value in lines}
        self.last_id = fields.get("id", self.last_id)
        return fields
