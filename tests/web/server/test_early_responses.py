"""Requests that are answered before their body has come, and what follows on their connection."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import pytest
from quart import Response

from service.errors import Unavailable
from service.settings import ServerName, Settings
from service.testing.application import make_app, make_settings
from service.testing.client import PASSWORD
from service.testing.database import Databases
from service.testing.server import serving
from service.web.server import bounds
from tests.support.server import RawAnswer, connected, exchange, head, kept_alive, parse, receive

JSON: Final = "Content-Type: application/json"
NEXT: Final = kept_alive("GET", "/health/live")
NOBODY: Final = "/api/posts/01900000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
async def port(
    server: ServerName, service_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[int]:
    """The port of an application for all tests of this module."""
    with service_databases.database() as database:
        settings = make_settings(
            database_url=database.url,
            data_dir=tmp_path_factory.mktemp("early"),
            ratelimit_enabled=True,
            ratelimit_default="",
            ratelimit_refresh="1/day",
            ratelimit_login="",
        )
        app = make_app(settings)

        @app.post("/unavailable")
        async def unavailable() -> Response:
            raise Unavailable

        async with serving(app, server=server) as number:
            await exchange(number, head("POST", "/auth/refresh"))  # the only one of this day
            yield number


@pytest.fixture(scope="module")
async def token(port: int) -> str:
    """The Authorization header of an account."""
    body = json.dumps({"email": "ada@example.com", "password": PASSWORD}).encode()
    for path in ("/auth/register", "/auth/login"):
        top = head("POST", path, JSON, f"Content-Length: {len(body)}")
        answer = await exchange(port, top + body)
    return f"Authorization: Bearer {answer.json['access_token']}"


REFUSED: Final = {
    "401": ("PUT", "/auth/password", False),
    "403": ("PATCH", f"/admin/users/{NOBODY[-36:]}", True),
    "404, unknown path": ("POST", "/nowhere", False),
    "404, unknown post": ("DELETE", NOBODY, True),
    "405": ("PUT", "/health/live", False),
    "415": ("POST", "/auth/login", False),
    "429": ("POST", "/auth/refresh", False),
    "503": ("POST", "/unavailable", False),
    "200": ("GET", "/health/live", False),
}


def chunked(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize("size", [100, 3_000_000], ids=["100 bytes", "3 MB"])
@pytest.mark.parametrize("name", REFUSED)
async def test_next_request_is_answered_after_an_early_response(
    port: int, token: str, name: str, size: int
) -> None:
    method, path, signed_in = REFUSED[name]
    lines = [token] if signed_in else []
    async with connected(port) as (reader, writer):
        writer.write(kept_alive(method, path, f"Content-Length: {size}", *lines))
        assert (await receive(reader)).status == int(name[:3])
        for _ in range(10):
            writer.write(b"x" * (size // 10))
            await asyncio.sleep(0)
        writer.write(NEXT)
        assert (await receive(reader)).status == 200


async def test_next_request_is_answered_after_413(port: int, token: str) -> None:
    size = 10_000_000
    async with connected(port) as (reader, writer):
        writer.write(kept_alive("POST", "/api/posts", token, JSON, f"Content-Length: {size}"))
        assert (await receive(reader)).status == 413
        writer.write(b"x" * size + NEXT)
        assert (await receive(reader)).status == 200


@pytest.mark.parametrize("name", REFUSED)
async def test_early_response_to_a_chunked_body_announces_the_close(
    port: int, token: str, name: str
) -> None:
    method, path, signed_in = REFUSED[name]
    lines = [token] if signed_in else []
    async with connected(port) as (reader, writer):
        writer.write(kept_alive(method, path, "Transfer-Encoding: chunked", *lines))
        answer = await receive(reader)
        assert (answer.status, answer.headers["connection"]) == (int(name[:3]), "close")
        writer.write(chunked(b"x" * 100_000) + NEXT)
        assert await reader.read() == b""


async def test_request_and_the_next_may_be_split_at_any_place(port: int) -> None:
    stream = kept_alive("PUT", "/auth/password", "Content-Length: 20") + b"x" * 20 + NEXT
    for cut in range(1, len(stream)):
        async with connected(port) as (reader, writer):
            writer.write(stream[:cut])
            for _ in range(5):  # the server runs in this loop
                await asyncio.sleep(0)
            writer.write(stream[cut:])
            answers = [await receive(reader) for _ in range(2)]
        assert [answer.status for answer in answers] == [401, 200], cut


async def test_pipelined_requests_are_all_answered_in_order(port: int) -> None:
    early = kept_alive("PUT", "/auth/password", "Content-Length: 20") + b"x" * 20
    async with connected(port) as (reader, writer):
        writer.write((early + NEXT) * 5)
        statuses = [(await receive(reader)).status for _ in range(10)]
    assert statuses == [401, 200] * 5


async def test_connection_of_a_client_that_stops_sending_ends(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "DISCARD_TIME", 0.05)
    async with connected(port) as (reader, writer), asyncio.timeout(5):
        writer.write(kept_alive("PUT", "/auth/password", "Content-Length: 100") + b"x")
        assert (await receive(reader)).status == 401
        assert await reader.read() == b""


async def test_response_to_a_body_that_does_not_come_announces_the_close(
    settings: Settings, server: ServerName
) -> None:
    app = make_app(settings)
    app.config["BODY_TIMEOUT"] = 0.05
    async with serving(app, server=server) as port, connected(port) as (reader, writer):
        writer.write(kept_alive("POST", "/auth/login", JSON, "Content-Length: 100") + b"{")
        answer = await receive(reader)
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert await reader.read() == b""


@pytest.mark.parametrize(
    "line", [f"Content-Length: {2**24 + 1}", f"Content-Length: {2**62}", "Connection: close"]
)
async def test_response_before_a_body_that_is_not_discarded_announces_the_close(
    port: int, line: str
) -> None:
    length = [] if line.startswith("Content") else ["Content-Length: 100"]
    answer = await exchange(port, kept_alive("PUT", "/auth/password", line, *length))
    assert (answer.status, answer.headers["connection"]) == (401, "close")


@pytest.mark.parametrize("framing", ["Content-Length: 10000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("closing", [True, False])
async def test_client_that_reads_after_it_has_sent_10_mb_gets_its_response(
    port: int, framing: str, closing: bool
) -> None:
    make = head if closing else kept_alive
    body = b"x" * 10_000_000
    sent = chunked(body) if "chunked" in framing else body

    def upload() -> RawAnswer:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(make("PUT", "/auth/password", framing) + sent)
            return parse(client.recv(10_000))

    assert (await asyncio.to_thread(upload)).status == 401


async def test_upload_beyond_what_is_discarded_ends_the_connection(port: int) -> None:
    piece = b"x" * 2**20
    async with connected(port) as (reader, writer):
        writer.write(kept_alive("PUT", "/auth/password", f"Content-Length: {2**40}"))
        assert (await receive(reader)).status == 401
        sent = 0
        with suppress(ConnectionError):
            while sent < 64 * 2**20:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
        assert sent < 64 * 2**20


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (kept_alive("GET", "/health/live", "X: " + "x" * 70_000) + b"x" * 1_000_000, 431),
        (b"?\r\n\r\n" + b"x" * 1_000_000, 400),
        (kept_alive("POST", "/auth/login", "Content-Length: x") + b"x" * 1_000_000, 400),
        (kept_alive("POST", "/auth/login", "Transfer-Encoding: gzip") + b"x" * 1_000_000, 501),
    ],
    ids=["large head", "no HTTP", "no length", "unknown coding"],
)
async def test_client_of_a_malformed_request_reads_the_refusal(
    port: int, request_: bytes, status: int
) -> None:
    def send() -> RawAnswer:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(request_)
            return parse(client.recv(10_000))

    answer = await asyncio.to_thread(send)
    assert (answer.status, answer.headers["connection"]) == (status, "close")


class TestExpectation:
    """Clients that wait for 100 (Continue) before they send a body (RFC 9110, §10.1.1)."""

    EXPECT: Final = "Expect: 100-continue"

    @pytest.mark.parametrize("name", REFUSED)
    @pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
    async def test_final_status_comes_without_100(
        self, port: int, token: str, name: str, framing: str
    ) -> None:
        method, path, signed_in = REFUSED[name]
        lines = [token] if signed_in else []
        async with connected(port) as (reader, writer):
            writer.write(kept_alive(method, path, framing, self.EXPECT, *lines))
            answer = await receive(reader)
            assert (answer.status, answer.headers["connection"]) == (int(name[:3]), "close")
            assert await reader.read() == b""

    @pytest.mark.parametrize("kind", ["text/plain", "application/json"])
    async def test_refusal_by_type_or_length_comes_without_100(
        self, port: int, token: str, kind: str
    ) -> None:
        lines = [token, self.EXPECT, f"Content-Type: {kind}", "Content-Length: 2500000"]
        answer = await exchange(port, kept_alive("POST", "/api/posts", *lines))
        assert answer.status == (413 if kind == "application/json" else 415)

    @pytest.mark.parametrize("expectation", ["100-continue", "100-Continue"])
    async def test_body_is_asked_for_once_it_is_read(
        self, port: int, token: str, expectation: str
    ) -> None:
        body = b'{"title": "a", "content": "b"}'
        lines = [token, JSON, f"Expect: {expectation}", f"Content-Length: {len(body)}"]
        async with connected(port) as (reader, writer):
            writer.write(kept_alive("POST", "/api/posts", *lines))
            assert (await receive(reader)).status == 100
            writer.write(body + NEXT)
            assert (await receive(reader)).status == 201
            assert (await receive(reader)).status == 200

    async def test_body_that_is_sent_at_once_is_read(self, port: int, token: str) -> None:
        body = b'{"title": "a", "content": "b"}'
        lines = [token, JSON, self.EXPECT, f"Content-Length: {len(body)}"]
        async with connected(port) as (reader, writer):
            writer.write(kept_alive("POST", "/api/posts", *lines) + body + NEXT)
            statuses = [(await receive(reader)).status for _ in range(2)]
            if statuses[0] == 100:  # the body may come with the head or after it
                statuses = [statuses[1], (await receive(reader)).status]
        assert statuses == [201, 200]

    async def test_http_1_0_has_no_expectations(self, port: int) -> None:
        request = kept_alive("PUT", "/auth/password", self.EXPECT, "Content-Length: 0")
        answer = await exchange(port, request.replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert answer.status == 401
