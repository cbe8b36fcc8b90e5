"""Clients that close their half of the connection after their request (RFC 9112, §9.6)."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from typing import Final

import pytest
from quart import Response, request

from service.settings import ServerName, Settings
from service.testing.application import make_app
from service.testing.client import PASSWORD
from service.testing.server import serving
from service.web.server import bounds
from service.web.server.application import Service
from tests.support.server import connected, kept_alive, parse, receive

BODY: Final = json.dumps({"email": "ada@example.com", "password": PASSWORD}).encode()
JSON: Final = ("Content-Type: application/json", f"Content-Length: {len(BODY)}")
REGISTER: Final = kept_alive("POST", "/auth/register", *JSON) + BODY
SLOW: Final = 0.4  # seconds: the client is watched by then


class Handler:
    """A slow route, and how it ended."""

    def __init__(self, app: Service) -> None:
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.begun = asyncio.Event()
        self.seconds = SLOW
        app.add_url_rule("/slow", "slow", self.handle, methods=["GET", "POST"])
        app.add_url_rule("/endless", "endless", self.stream)

    async def handle(self) -> Response:
        self.begun.set()
        try:
            await request.get_data()
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.ended.put_nowait("cancelled")
            raise
        self.ended.put_nowait("answered")
        return Response(b"")

    async def stream(self) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x"
                    await asyncio.sleep(0.01)
            finally:
                self.ended.put_nowait("closed")

        return Response(parts())


@pytest.fixture
def app_served(settings: Settings) -> Service:
    """An application that is not started yet."""
    return make_app(settings)


@pytest.fixture
def handler(app_served: Service) -> Handler:
    return Handler(app_served)


@pytest.fixture
async def port(app_served: Service, handler: Handler, server: ServerName) -> AsyncIterator[int]:
    async with serving(app_served, server=server) as number:
        yield number


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (kept_alive("GET", "/health/live"), [200]),
        (kept_alive("GET", "/api/posts").replace(b"1.1", b"1.0"), [200]),
        (REGISTER, [201]),
        (kept_alive("GET", "/slow", "Expect: 100-continue"), [200]),
        (kept_alive("POST", "/slow", "Content-Length: 3") + b"abc", [200]),
        (kept_alive("POST", "/slow", "Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\n\r\n", [200]),
        (kept_alive("GET", "/slow") + REGISTER + kept_alive("GET", "/slow"), [200, 201, 200]),
        (kept_alive("POST", "/slow", "Content-Length: 3", "Expect: 100-continue") + b"abc", [200]),
    ],
    ids=["GET", "HTTP/1.0", "POST", "no body", "slow", "chunked", "pipelined", "expectation"],
)
async def test_client_that_half_closes_gets_its_responses(
    port: int, sent: bytes, statuses: list[int]
) -> None:
    async with connected(port) as (reader, writer):
        writer.write(sent)
        writer.write_eof()
        got = [(await receive(reader)).status for _ in statuses]
        assert await reader.read() == b""
    assert got == statuses


async def test_client_that_half_closes_in_a_body_is_refused(port: int) -> None:
    async with connected(port) as (reader, writer):
        writer.write(kept_alive("POST", "/auth/login", *JSON) + BODY[:-1])
        writer.write_eof()
        assert parse(await reader.read()).status == 400


# Under Hypercorn, which reads nothing while a request waits behind another, it goes on.
BROKEN_REST: Final = pytest.mark.parametrize("server", ["uvicorn"], indirect=True)
HALF_A_HEAD: Final = b"GET / HTTP/1.1\r\nHost:"


async def test_request_of_a_client_that_half_closes_is_given_up_in_time(
    port: int, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    await assert_given_up(port, handler, monkeypatch, b"")


@BROKEN_REST
async def test_request_of_a_client_that_half_closes_in_the_next_one_is_given_up_in_time(
    port: int, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    await assert_given_up(port, handler, monkeypatch, HALF_A_HEAD)


async def assert_given_up(
    port: int, handler: Handler, monkeypatch: pytest.MonkeyPatch, rest: bytes
) -> None:
    monkeypatch.setattr(bounds, "HALF_CLOSE_GRACE", 0.1)
    handler.seconds = 30
    async with connected(port) as (reader, writer), asyncio.timeout(10):
        writer.write(kept_alive("GET", "/slow") + rest)
        writer.write_eof()
        assert await handler.ended.get() == "cancelled"
        assert await reader.read() == b""


async def test_request_of_a_client_that_resets_is_given_up_at_once(
    port: int, handler: Handler
) -> None:
    handler.seconds = 30
    async with connected(port) as (_, writer), asyncio.timeout(bounds.HALF_CLOSE_GRACE):
        writer.write(kept_alive("GET", "/slow"))
        await handler.begun.wait()
        client = writer.get_extra_info("socket")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
        assert await handler.ended.get() == "cancelled"


@pytest.mark.parametrize("at_once", [True, False])
async def test_stream_ends_when_its_client_half_closes(
    port: int, handler: Handler, at_once: bool
) -> None:
    await assert_stream_ends(port, handler, b"", at_once=at_once)


@BROKEN_REST
@pytest.mark.parametrize("at_once", [True, False])
async def test_stream_ends_when_its_client_half_closes_in_the_next_request(
    port: int, handler: Handler, at_once: bool
) -> None:
    await assert_stream_ends(port, handler, HALF_A_HEAD, at_once=at_once)


async def assert_stream_ends(port: int, handler: Handler, rest: bytes, *, at_once: bool) -> None:
    async with connected(port) as (reader, writer), asyncio.timeout(bounds.HALF_CLOSE_GRACE):
        writer.write(kept_alive("GET", "/endless") + rest)
        if not at_once:
            await reader.readuntil(b"x")
        writer.write_eof()
        assert await handler.ended.get() == "closed"
        await reader.read()
