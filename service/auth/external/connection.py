"""The connection that a request opens, closed when the request is given up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

# What the client calls at each step of a request: its extension `trace`.
Trace = Callable[[str, Mapping[str, Any]], Awaitable[None]]


@asynccontextmanager
async def closed_when_given_up(
    opened: Callable[[Any], None] = lambda _stream: None,
) -> AsyncIterator[Trace]:
    """Yield the hook for a request in the block, which is given each stream that it opens.

    The client closes what fails, and not what is cancelled amid the handshake of TLS: the socket
    would stay open, for as long as the other side is silent.
    """
    streams: list[Any] = []

    async def trace(event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            streams.append(info["return_value"])
            opened(info["return_value"])

    try:
        yield trace
    except asyncio.CancelledError:
        for stream in streams:
            await stream.aclose()
        raise
