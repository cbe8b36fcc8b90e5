"""uvicorn's own protocol: once none of its faults is left, it can take connection.py's place."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from tests.support.server import connected, exchange, head, kept_alive

REQUEST = kept_alive("POST", "/", "Transfer-Encoding: chunked") + b"0\r\nX-Forged: 1\r\n\r\n"


async def answer(scope: Any, receive_: Any, send: Any) -> None:
    """Answer with the names of the request's headers, in two parts, once the body has come."""
    while (await receive_()).get("more_body"):
        pass
    await asyncio.sleep(0.05)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    names = b" ".join(name for name, _ in scope["headers"])
    await send({"type": "http.response.body", "body": names, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


@asynccontextmanager
async def serving_plainly() -> AsyncIterator[int]:
    """uvicorn as its command would serve, with httptools."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            answer, http="httptools", lifespan="off", log_config=None, timeout_keep_alive=1
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve([listener]))
        while not server.started:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        await task


@pytest.mark.proof
async def test_uvicorn_s_own_protocol_still_lacks_each_of_what_ours_adds() -> None:
    async with serving_plainly() as port:
        large = await exchange(port, head("GET", "/", "X: " + "x" * 500_000))
        assert large.status == 200, "heads are bounded"
        old = await exchange(port, head("GET", "/").replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert "transfer-encoding" in old.headers, "HTTP/1.0 gets no chunks"
        async with connected(port) as (reader, writer):
            writer.write(REQUEST)
            assert b"x-forged" in await reader.readuntil(b"0\r\n\r\n"), "trailers are no headers"
        async with connected(port) as (reader, writer):
            writer.write(kept_alive("GET", "/"))
            writer.write_eof()
            assert await reader.read() == b"", "half-closed clients get responses"
        async with connected(port) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\n")
            with pytest.raises(TimeoutError):  # else slow heads are bounded
                await asyncio.wait_for(reader.read(), 2)
