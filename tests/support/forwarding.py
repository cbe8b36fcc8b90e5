"""Servers of TCP in front of a database that listens on a Unix socket alone, or that is silent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit


@asynccontextmanager
async def forwarding(url: str) -> AsyncIterator[int]:
    """A port on this machine at which the database of the URL answers."""
    folder = parse_qs(urlsplit(url).query)["host"][0]

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")
        await asyncio.gather(_pass_on(reader, forth), _pass_on(back, writer))

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
    target.close()


@asynccontextmanager
async def silence() -> AsyncIterator[int]:
    """A port on this machine that takes connections, and never answers: a frozen server."""
    taken: list[asyncio.StreamWriter] = []

    async def connect(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        for writer in taken:
            writer.close()
