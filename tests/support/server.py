"""Raw HTTP/1.1 for what clients would not send."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any


@dataclass
class RawAnswer:
    """A response as it came over the wire; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def exchange(port: int, request: bytes) -> RawAnswer:
    """Send a request as it is and read the response to the end of the connection."""
    async with connected(port) as (reader, writer):
        writer.write(request)
        await writer.drain()
        return parse(await reader.read())


def head(method: str, path: str, *lines: str) -> bytes:
    """A request's head; the server is asked to close after the answer."""
    return kept_alive(method, path, "Connection: close", *lines)


def kept_alive(method: str, path: str, *lines: str) -> bytes:
    """A request's head; the connection may go on after the answer."""
    fixed = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    return "\r\n".join([*fixed, *lines, "", ""]).encode("latin-1")


async def receive(reader: asyncio.StreamReader) -> RawAnswer:
    """Read one response, of a declared length or none, from a connection that may go on."""
    top = await reader.readuntil(b"\r\n\r\n")
    answer = parse(top)
    length = int(answer.headers.get("content-length", 0))
    return parse(top + await reader.readexactly(length))


def parse(response: bytes) -> RawAnswer:
    """Take a response apart."""
    top, _, body = response.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    return RawAnswer(int(first.split()[1]), headers, body)
