"""A raw client of HTTP/2 without TLS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)

from tests.support.server import RawAnswer, connected


class Http2Client:
    """A connection; what comes is kept by the ids of the streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.answers: dict[int, RawAnswer] = {}
        self.informational: list[int] = []
        self.ended: set[int] = set()
        self.resets: dict[int, ErrorCodes | int] = {}
        self.terminated = False  # by the server, with GOAWAY

    @classmethod
    @asynccontextmanager
    async def connected(cls, port: int) -> AsyncIterator[Self]:
        """Connect with prior knowledge."""
        async with connected(port) as (reader, writer):
            client = cls(reader, writer)
            client.h2.initiate_connection()
            client.flush()
            yield client

    def flush(self) -> None:
        self._writer.write(self.h2.data_to_send())

    def send(
        self, method: str, path: str, *headers: tuple[str, str], end: bool = True, host: str = "x"
    ) -> int:
        """Send a request's head; returns the id of its stream."""
        stream_id = self.h2.get_next_available_stream_id()
        pseudo = [(":method", method), (":path", path), (":scheme", "http"), (":authority", host)]
        self.h2.send_headers(stream_id, [*pseudo, *headers], end_stream=end)
        self.flush()
        return stream_id

    async def upload(self, stream_id: int, size: int) -> None:
        """Send a body of so many bytes as the flow control lets it, until the stream is reset."""
        while size and stream_id not in self.resets:
            room = min(self.h2.local_flow_control_window(stream_id), size, 16_384)
            if room:
                size -= room
                self.h2.send_data(stream_id, b"x" * room, end_stream=not size)
                self.flush()
                await self._writer.drain()
            else:
                await self.read()

    async def read(self) -> None:
        """Read what comes next. Raises ConnectionError when the connection has ended."""
        data = await self._reader.read(65_536)
        if not data:
            raise ConnectionError
        for event in self.h2.receive_data(data):
            match event:
                case ResponseReceived(stream_id=stream_id, headers=headers):
                    values = {str(name): str(value) for name, value in headers}
                    self.answers[stream_id] = RawAnswer(int(values[":status"]), values, b"")
                case InformationalResponseReceived(stream_id=stream_id):
                    self.informational.append(stream_id)
                case DataReceived(stream_id=stream_id, data=part):
                    self.answers[stream_id].body += part
                    self.h2.acknowledge_received_data(len(part), stream_id)
                case StreamEnded(stream_id=stream_id):
                    self.ended.add(stream_id)
                case StreamReset(stream_id=stream_id, error_code=code):
                    self.resets[stream_id] = code
                case ConnectionTerminated():
                    self.terminated = True
        self.flush()

    async def answer(self, stream_id: int) -> RawAnswer:
        """Read until a response is complete."""
        while stream_id not in self.ended:
            await self.read()
        return self.answers[stream_id]

    async def read_to_end(self) -> None:
        """Read until the connection has ended."""
        with suppress(ConnectionError):
            while True:
                await self.read()
