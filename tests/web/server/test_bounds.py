"""Bounds of what clients send, and when, and what older and odder clients get."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import pytest
from hypercorn.config import Config
from quart import Response, request

from service.settings import ServerName
from service.testing.application import make_app, make_settings
from service.testing.database import Databases
from service.testing.server import serving
from tests.support.broken import add_broken
from tests.support.server import connected, exchange, head, kept_alive, receive

IDLE: Final = 0.3  # seconds
CHUNKED: Final = "Transfer-Encoding: chunked"
WAITING: Final = asyncio.Event()  # a request for /waits has begun
GO_ON: Final = asyncio.Event()  # and may end


@pytest.fixture(scope="module")
async def port(
    server: ServerName, service_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[int]:
    """The port of an application with a few routes more, which ends idle connections soon."""
    with service_databases.database() as database, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, "keep_alive_timeout", IDLE)
        data_dir = tmp_path_factory.mktemp("bounds")
        app = make_app(make_settings(database_url=database.url, data_dir=data_dir))
        add_broken(app)

        @app.post("/fields")
        async def fields() -> Response:
            await request.get_data()
            names = " ".join(name for name, _ in request.headers)
            return Response(f"{names} [{request.headers.get('x-padded', '')}]")

        @app.post("/length")
        async def length() -> Response:
            return Response(str(len(await request.get_data())))

        @app.get("/parts")
        async def parts() -> Response:
            async def send() -> AsyncIterator[bytes]:
                yield b"one "
                yield b"two"

            return Response(send())

        @app.get("/waits")
        async def waits() -> Response:
            WAITING.set()
            await GO_ON.wait()
            return Response(b"")

        async with serving(app, server=server) as number:
            yield number


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /health/live HTTP/1.1\r\nHost: ", kept_alive("GET", "/health/live")],
    ids=["silent", "half a head", "answered"],
)
async def test_connection_without_a_whole_request_ends_after_keep_alive_timeout(
    port: int, sent: bytes
) -> None:
    async with connected(port) as (reader, writer), asyncio.timeout(20):
        writer.write(sent)
        if sent.endswith(b"\r\n\r\n"):
            assert (await receive(reader)).status == 200
        assert await reader.read() == b""


async def test_client_that_sends_its_head_slowly_is_cut_off_in_the_same_time(port: int) -> None:
    async with connected(port) as (reader, writer), asyncio.timeout(20):
        writer.write(b"GET /health/live HTTP/1.1\r\n")
        ended = asyncio.create_task(reader.read())
        while not ended.done():
            writer.write(b"X: y\r\n")
            await asyncio.wait({ended}, timeout=IDLE / 3)
        assert await ended == b""


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX: "], ids=["target", "header"])
async def test_head_without_end_is_431(port: int, start: bytes) -> None:
    async with connected(port) as (reader, writer):
        writer.write(start)
        for _ in range(20):
            await asyncio.sleep(0)
            writer.write(b"x" * 4096)
        answer = await receive(reader)
        assert (answer.status, answer.headers["connection"]) == (431, "close")


async def test_response_of_unknown_length_has_chunks_in_http_1_1_alone(port: int) -> None:
    request_ = head("GET", "/parts")
    new = await exchange(port, request_)
    old = await exchange(port, request_.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert new.body == b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n"
    assert (old.body, old.headers["connection"]) == (b"one two", "close")
    assert "transfer-encoding" not in old.headers


async def test_response_that_breaks_off_lacks_its_last_chunk(port: int) -> None:
    answer = await exchange(port, kept_alive("GET", "/broken"))
    assert (answer.status, answer.body) == (200, b"3\r\none\r\n")


async def test_fields_after_a_chunked_body_are_no_headers(port: int) -> None:
    top = head("POST", "/fields", CHUNKED, "X-Padded:  a b \t")
    answer = await exchange(port, top + b"1\r\nx\r\n0\r\nX-Forged: 1\r\n\r\n")
    assert answer.status == 200
    assert b"x-forged" not in answer.body.lower()
    assert answer.body.endswith(b"[a b]")


@pytest.mark.parametrize("size", [65_536, 65_537, 100_000, 1_000_000])
@pytest.mark.parametrize("framing", ["Content-Length", "Transfer-Encoding"])
async def test_body_larger_than_what_is_buffered_is_read_whole(
    port: int, framing: str, size: int
) -> None:
    line, body = f"Content-Length: {size}", b"x" * size
    if framing == "Transfer-Encoding":
        line, body = CHUNKED, f"{size:x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    answer = await exchange(port, head("POST", "/length", line) + body)
    assert answer.body == str(size).encode()


async def test_request_after_the_last_one_is_not_answered(port: int) -> None:
    async with connected(port) as (reader, writer):
        writer.write(head("GET", "/health/live") + kept_alive("GET", "/health/live"))
        assert (await receive(reader)).headers["connection"] == "close"
        assert await reader.read() == b""


async def test_malformed_request_is_refused_after_the_responses_before_it(port: int) -> None:
    async with connected(port) as (reader, writer):
        writer.write(kept_alive("GET", "/api/posts") * 2 + b"GET / HTTP/1.1\r\n: x\r\n\r\n")
        assert [(await receive(reader)).status for _ in range(3)] == [200, 200, 400]
        assert await reader.read() == b""


async def test_malformed_chunk_is_400_and_ends_the_connection(port: int) -> None:
    async with connected(port) as (reader, writer):
        writer.write(kept_alive("POST", "/fields", CHUNKED) + b"xyz\r\n")
        answer = await receive(reader)
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert await reader.read() == b""


async def test_client_that_sends_requests_without_waiting_is_not_read_without_bound(
    port: int,
) -> None:
    size = 32 * 2**20
    WAITING.clear()
    GO_ON.clear()
    async with connected(port) as (reader, writer), asyncio.timeout(20):
        writer.write(kept_alive("GET", "/waits"))
        await WAITING.wait()  # so that the connection is not idle, however long the rest takes
        line = kept_alive("GET", "/health/live")
        writer.write(line * (size // len(line)))
        left, before = size, 0
        while left != before:
            for _ in range(20):  # the server answers others, and reads what it means to read
                await exchange(port, head("GET", "/health/live"))
            before, left = left, writer.transport.get_write_buffer_size()
        assert left > size / 4
        GO_ON.set()
        for _ in range(10):  # it has not stalled
            assert (await receive(reader)).status == 200
        writer.transport.abort()
