"""The service as a process of its own on loopback, and a bare keep-alive client for it."""

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import SECRET

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Served:
    """Where a process serves."""

    pid: int
    port: int

    def resident(self) -> int:
        """The memory it holds, in bytes."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


class Connection:
    """A keep-alive HTTP/1.1 connection; it costs little, so that the server's part shows."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> "Connection":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def request(
        self, method: str, path: str, body: bytes = b"", token: str = ""
    ) -> tuple[int, bytes]:
        """Send a request; status and body."""
        head = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
        if body:
            head.append("Content-Type: application/json")
        if token:
            head.append(f"Authorization: Bearer {token}")
        self._writer.write("\r\n".join([*head, "", ""]).encode() + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        headers = dict(line.split(b": ", 1) for line in answer.split(b"\r\n")[1:-2])
        content = await self._reader.readexactly(int(headers.get(b"content-length", 0)))
        if headers.get(b"connection") == b"close":  # hypercorn's after a thousand requests
            await self.__aexit__()
            await self.__aenter__()
        return int(answer[9:12]), content


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def serve(database_url: str, data_dir: Path, **environment: str) -> AsyncIterator[Served]:
    """Run the service until the block ends."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "serve", "--config", str(ROOT / "hypercorn.toml")),
        *("--bind", f"127.0.0.1:{port}"),
        cwd=ROOT,
        env={
            **os.environ,
            "SERVICE_ENV": "testing",
            "DATABASE_URL": database_url,
            "DATA_DIR": str(data_dir),
            "SECRET_KEY": SECRET,
            "RATELIMIT_ENABLED": "false",
            **environment,
        },
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await _listening(port)
        yield Served(process.pid, port)
    finally:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 20)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _listening(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async with Connection(port) as connection:
                if (await connection.request("GET", "/health/live"))[0] == 200:
                    return
        assert time.monotonic() < deadline, "the service did not start"
        await asyncio.sleep(0.05)
