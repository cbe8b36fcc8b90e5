"""Connections that are to end while their clients read nothing."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

import pytest
from quart import Response

from service.settings import ServerName, Settings
from service.testing.application import make_app
from service.testing.server import bound_socket, serving
from service.web.request_state import request_state
from service.web.server import bounds
from service.web.server.application import Service
from tests.support.server import exchange, head, kept_alive

GRACE: Final = 20  # seconds
BUFFER: Final = 4096  # bytes of each end's socket, as far as the kernel heeds that
# More than both sockets hold, and less than what has a response wait for its client.
LARGE: Final = 60_000
# More than that.
TOO_LARGE: Final = 200_000

GET: Final = kept_alive("GET", "/large")
OLD_STREAM: Final = kept_alive("GET", "/dropped").replace(b"HTTP/1.1", b"HTTP/1.0")
CASES: Final = {
    "dropped stream": (kept_alive("GET", "/dropped"), False),
    "dropped stream by HTTP/1.0": (OLD_STREAM, False),
    "failed stream": (kept_alive("GET", "/failed"), False),
    "kept alive": (GET, False),
    "last response": (head("GET", "/large"), False),
    "last response before more": (head("GET", "/large") + GET, False),
    "response by HTTP/1.0": (GET.replace(b"HTTP/1.1", b"HTTP/1.0"), False),
    "malformed rest": (GET + b"GET / HTTP/1.1\r\n: x\r\n\r\n", False),
    "early chunked": (kept_alive("POST", "/large", "Transfer-Encoding: chunked"), False),
    "early response": (kept_alive("POST", "/large", "Content-Length: 9"), False),
    "early last response": (head("POST", "/large", "Content-Length: 9"), False),
    "half-closed": (GET, True),
    "half-closed stream": (kept_alive("GET", "/stream"), True),
    "half-closed body": (kept_alive("POST", "/large", "Content-Length: 9"), True),
}


def make_large_app(settings: Settings) -> Service:
    """An application with large responses, and streams that end in different ways."""
    app = make_app(settings)

    @app.route("/large", methods=["GET", "POST"])
    async def large() -> Response:
        return Response(b"x" * LARGE)

    @app.get("/stream")
    async def stream() -> Response:
        return Response(_parts())

    @app.get("/dropped")
    async def dropped() -> Response:
        asyncio.get_running_loop().call_later(0.1, request_state().abort)
        return Response(_parts())

    @app.get("/failed")
    async def failed() -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"x" * LARGE
            raise RuntimeError("in the middle")

        return Response(parts())

    return app


async def _parts() -> AsyncIterator[bytes]:
    yield b"x" * TOO_LARGE
    await asyncio.Event().wait()


@contextmanager
def silent_client() -> Iterator[socket.socket]:
    """A client that reads nothing, and hardly gets anything into its buffer."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        client.setblocking(False)
        yield client


@pytest.mark.usefixtures("patched")
@pytest.mark.parametrize(("sent", "half_closed"), CASES.values(), ids=CASES)
async def test_server_ends_without_waiting_for_what_nobody_reads(
    settings: Settings,
    server: ServerName,
    monkeypatch: pytest.MonkeyPatch,
    sent: bytes,
    half_closed: bool,
) -> None:
    for name in ("UNREAD_TIME", "DISCARD_TIME", "HALF_CLOSE_GRACE"):
        monkeypatch.setattr(bounds, name, 0.1)
    bound = bound_socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    serve = serving(make_large_app(settings), bound, server=server, graceful_timeout=GRACE)
    with silent_client() as client:
        async with serve as port:
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", port))
            await loop.sock_sendall(client, sent)
            if half_closed:
                client.shutdown(socket.SHUT_WR)
            for _ in range(2):  # by then the server has read what was sent
                await exchange(port, head("GET", "/health/live"))
            start = time.monotonic()
        assert time.monotonic() - start < GRACE / 2


async def test_slow_client_gets_its_last_response_whole(
    settings: Settings, server: ServerName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "UNREAD_TIME", 0.3)
    bound = bound_socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    loop = asyncio.get_running_loop()
    received, start = b"", time.monotonic()
    async with serving(make_large_app(settings), bound, server=server) as port:
        with silent_client() as client:
            await loop.sock_connect(client, ("127.0.0.1", port))
            await loop.sock_sendall(client, head("GET", "/large"))
            while part := await loop.sock_recv(client, BUFFER):
                received += part
                await asyncio.sleep(0.05)
    assert time.monotonic() - start > bounds.UNREAD_TIME
    assert received.endswith(b"\r\n\r\n" + b"x" * LARGE)
