"""Requests and connections leave nothing behind that only the garbage collector finds."""

import gc
from collections.abc import Iterator

import pytest
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.protocol.events import Response
from hypercorn.protocol.http_stream import HTTPStream
from quart.wrappers import Response as QuartResponse

from service.app import create_app
from service.settings import ServerName, Settings
from service.testing.server import serving
from service.web.request_state import RequestState
from service.web.server.connection import HTTPConnection
from service.web.server.hypercorn.head import Head
from service.web.server.request import ApiRequest
from service.web.server.uvicorn.connection import Connection
from service.web.server.uvicorn.exchange import Exchange
from tests.support.polling import until
from tests.support.server import connected, exchange, head, kept_alive, receive

REQUESTS = 20
CONNECTIONS = 20
BODY = b'{"email": "taken@example.com", "password": "a long and good password"}'
CHUNK = b"80000\r\n" + bytes(0x80000) + b"\r\n"
JSON = ("Content-Type: application/json",)

PARTS_OF_A_REQUEST = (
    RequestState, HTTPConnection, ApiRequest, QuartResponse, HTTPStream, Head, Response, Exchange
)  # fmt: skip


@pytest.fixture
def collector_off() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def found_by_the_collector(kind: type) -> int:
    """How many of them it frees.

    Others may stay: a cancelled timer is kept by asyncio until it is due, with all it holds.
    """
    before = count(kind)
    gc.collect()
    return before - count(kind)


def count(kind: type) -> int:
    return sum(isinstance(thing, kind) for thing in gc.get_objects())


@pytest.mark.usefixtures("collector_off")
@pytest.mark.parametrize(
    "request_",
    [
        head("GET", "/api/posts"),
        head("GET", "/api/posts", "Content-Length: 0"),
        head("GET", "/nowhere"),
        head("POST", "/auth/login", *JSON, f"Content-Length: {len(BODY)}") + BODY,
        head("POST", "/auth/register", *JSON, f"Content-Length: {len(BODY)}") + BODY,
        head("POST", "/auth/login", *JSON, "Content-Length: 99999999"),
        head("POST", "/auth/login", *JSON, "Transfer-Encoding: chunked") + CHUNK * 8,
    ],
    ids=["answered", "watched", "not found", "refused", "taken", "too large", "more than told"],
)
async def test_finished_request_leaves_nothing_to_the_collector(
    settings: Settings, server: ServerName, request_: bytes
) -> None:
    async with serving(create_app(settings), server=server) as port:
        for _ in range(REQUESTS):
            await exchange(port, request_)
        assert found_by_the_collector(RequestState) < REQUESTS / 2


@pytest.mark.usefixtures("patched", "collector_off")
@pytest.mark.parametrize(
    "request_", [b"", head("GET", "/health/live"), b"?"], ids=["silent", "answered", "cut short"]
)
async def test_finished_connection_leaves_nothing_to_the_collector(
    settings: Settings, server: ServerName, request_: bytes
) -> None:
    kind = TCPServer if server == "hypercorn" else Connection
    async with serving(create_app(settings), server=server) as port:
        for _ in range(CONNECTIONS):
            async with connected(port) as (reader, writer):
                writer.write(request_)
                writer.write_eof()
                await reader.read()
        assert found_by_the_collector(kind) < CONNECTIONS / 2


@pytest.mark.usefixtures("patched", "collector_off")
@pytest.mark.parametrize(
    "request_",
    [
        kept_alive("GET", "/health/live"),
        kept_alive("POST", "/auth/login", "Content-Length: 2") + b"{}",
    ],
    ids=["without a body", "body discarded"],
)
async def test_idle_connection_keeps_nothing_of_its_last_request(
    settings: Settings, server: ServerName, request_: bytes
) -> None:
    kind = TCPServer if server == "hypercorn" else Connection
    app = create_app(settings)
    async with serving(app, server=server) as port, connected(port) as (reader, writer):
        writer.write(request_)
        await receive(reader)

        async def forgotten() -> bool:  # once asyncio drops the watcher's cancelled timer
            return not any(count(kind) for kind in PARTS_OF_A_REQUEST)

        await until(forgotten)
        assert count(kind) == 1
