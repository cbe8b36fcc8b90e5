"""What goes over the wire: a real server on a loopback socket."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from service.app import create_app
from service.settings import ServerName, Settings
from service.testing.application import SECRET
from service.testing.client import PASSWORD
from service.testing.server import serving
from tests.support.server import RawAnswer, connected, exchange, head, parse

LIMIT = 2_097_152
JSON = "Content-Type: application/json"


@pytest.fixture
async def port(settings: Settings, server: ServerName) -> AsyncIterator[int]:
    """The port of a served application with an empty database."""
    async with serving(create_app(settings), server=server) as number:
        yield number


async def post(port: int, path: str, values: object, *lines: str) -> RawAnswer:
    body = json.dumps(values).encode()
    return await exchange(
        port, head("POST", path, JSON, f"Content-Length: {len(body)}", *lines) + body
    )


async def sign_up(port: int) -> str:
    """Register and log in; returns the Authorization header."""
    credentials = {"email": "ada@example.com", "password": PASSWORD}
    await post(port, "/auth/register", credentials)
    answer = await post(port, "/auth/login", credentials)
    return f"Authorization: Bearer {answer.json['access_token']}"


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def assert_refused(answer: RawAnswer, status: int) -> None:
    assert (answer.status, answer.json["code"]) == (status, status)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json["request_id"] == answer.headers["x-request-id"]


async def test_head_is_get_without_its_body(port: int) -> None:
    for path in ("/api/posts", "/health/live", "/nowhere"):
        got, headed = [await exchange(port, head(method, path)) for method in ("GET", "HEAD")]
        assert headed.body == b""
        assert headed.status == got.status
        varying = ("date", "x-request-id")
        assert {k: v for k, v in headed.headers.items() if k not in varying} == {
            k: v for k, v in got.headers.items() if k not in varying
        }


async def test_204_has_neither_body_nor_type_nor_length(port: int) -> None:
    who = await sign_up(port)
    post_id = (await post(port, "/api/posts", {"title": "a", "content": "b"}, who)).json["id"]
    answer = await exchange(port, head("DELETE", f"/api/posts/{post_id}", who))
    assert (answer.status, answer.body) == (204, b"")
    assert not {"content-type", "content-length", "transfer-encoding"} & set(answer.headers)
    assert "x-request-id" in answer.headers


async def test_length_of_an_answer_s_body_is_declared(port: int) -> None:
    answer = await exchange(port, head("GET", "/health/live"))
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert "transfer-encoding" not in answer.headers


async def test_one_connection_serves_many_requests(port: int) -> None:
    request = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    async with connected(port) as (reader, writer):
        for _ in range(3):
            writer.write(request)
            top = await reader.readuntil(b"\r\n\r\n")
            length = int(parse(top).headers["content-length"])
            assert json.loads(await reader.readexactly(length)) == {"status": "ok"}


async def test_declared_length_over_the_limit_is_refused_before_the_body_comes(port: int) -> None:
    who = await sign_up(port)
    answer = await exchange(port, head("POST", "/api/posts", who, JSON, f"Content-Length: {2**40}"))
    assert_refused(answer, 413)


async def test_chunked_body_over_the_limit_is_refused_before_its_end(port: int) -> None:
    who = await sign_up(port)
    top = head("POST", "/api/posts", who, JSON, "Transfer-Encoding: chunked")
    answer = await exchange(port, top + chunk(b"x" * (LIMIT + 1)))
    assert_refused(answer, 413)


async def test_chunked_body_up_to_the_limit_is_read(port: int) -> None:
    who = await sign_up(port)
    body = b'{"title": "a", "content": "b", "x": "' + b"y" * (LIMIT - 39) + b'"}'
    top = head("POST", "/api/posts", who, JSON, "Transfer-Encoding: chunked")
    halves = chunk(body[:1000]) + chunk(body[1000:]) + chunk(b"")
    assert (await exchange(port, top + halves)).status == 201


@pytest.mark.parametrize("line", [f"X-Request-ID: {'x' * 129}", "X-Request-ID: a\u00e9"])
async def test_insane_request_id_is_not_sent_back(port: int, line: str) -> None:
    answer = await exchange(port, head("GET", "/health/live", line))
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-request-id"])


@pytest.mark.parametrize("path", ["/%ff", "/api/posts?page=%ff", "/api/posts/%00", "/a%2fb%0d%0a"])
async def test_odd_paths_get_the_one_error_shape(port: int, path: str) -> None:
    answer = await exchange(port, head("GET", path))
    assert_refused(answer, answer.status)
    assert answer.status in {400, 404}


class TestMemory:
    """An upload without end, to a process of its own."""

    @pytest.fixture
    def served(self, database_url: str, tmp_path: Path) -> Iterator[tuple[int, int]]:
        """Port and process id of `hypercorn service.asgi:app`."""
        environment = os.environ | {
            "DATABASE_URL": database_url,
            "DATA_DIR": str(tmp_path),
            "SECRET_KEY": SECRET,
            "SERVICE_ENV": "testing",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        command = ["-m", "hypercorn", "--workers", "0", "--bind", "127.0.0.1:0", "service.asgi:app"]
        with subprocess.Popen(
            [sys.executable, *command], env=environment, stderr=subprocess.PIPE, cwd=tmp_path
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                if found := re.search(rb"Running on http://127.0.0.1:(\d+)", line):
                    yield int(found[1]), process.pid
                    process.terminate()
                    return
            pytest.fail("the server did not start")

    async def test_memory_stays_flat_during_a_chunked_upload_of_128_mib(
        self, served: tuple[int, int]
    ) -> None:
        port, pid = served
        who = await sign_up(port)
        await upload(port, who, 4)
        before = peak_memory(pid)
        sent, answer = await upload(port, who, 128)
        assert_refused(answer, 413)
        assert peak_memory(pid) - before < 16 * 2**20
        assert sent <= 128 * 2**20


def peak_memory(pid: int) -> int:
    """The most bytes that the process ever held."""
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(line) * 1024


async def upload(port: int, who: str, mebibytes: int) -> tuple[int, RawAnswer]:
    """Send chunks until the answer has come and the server hangs up, or all are sent.

    Returns the bytes sent and the answer.
    """
    piece = chunk(b"x" * 2**20)
    sent = 0
    answer = bytearray()
    async with connected(port) as (reader, writer):
        writer.write(head("POST", "/api/posts", who, JSON, "Transfer-Encoding: chunked"))
        reading = asyncio.create_task(read_into(answer, reader))
        with suppress(ConnectionError):
            while sent < mebibytes * 2**20:
                writer.write(piece)
                await writer.drain()
                sent += 2**20
        await reading
        return sent, parse(bytes(answer))


async def read_into(answer: bytearray, reader: asyncio.StreamReader) -> None:
    """Keep what comes, also when the connection is reset afterwards."""
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            answer += data


async def test_websocket_handshake_is_refused(port: int) -> None:
    upgrade = [
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]
    request = head("GET", "/api/posts/stream", *upgrade).replace(b": close", b": Upgrade")
    async with connected(port) as (reader, writer):
        writer.write(request)
        top = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", top)[1])  # type: ignore[index]
        answer = parse(top + await reader.readexactly(length))
    assert_refused(answer, 404)


async def test_client_cannot_forge_its_address(port: int) -> None:
    who = await sign_up(port)
    await exchange(port, head("GET", "/auth/me", who, "Remote-Addr: 192.0.2.1"))
    credentials = {"email": "ada@example.com", "password": PASSWORD}
    await post(port, "/auth/login", credentials, "Remote-Addr: 192.0.2.1")
    sessions = (await exchange(port, head("GET", "/auth/sessions", who))).json["sessions"]
    assert {session["ip"] for session in sessions} == {"127.0.0.1"}
