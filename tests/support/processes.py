"""The service as production runs it, a process of its own, and a bare keep-alive client for it."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from service.settings import PROJECT
from service.testing.application import SECRET
from tests.support.polling import until
from tests.support.server import RawAnswer, parse

# Values of hypercorn.toml that tests change.
SERVER_OPTIONS = ("worker_class", "graceful_timeout", "keep_alive_timeout")


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass
class ServiceProcess:
    """`service serve` with hypercorn.toml, some values of which may differ, and these settings."""

    url: str
    folder: Path
    server: dict[str, object] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    # Whether tracebacks in its log are part of the test.
    may_fail: bool = False

    async def start(self) -> None:
        """Start it; returns when it answers."""
        await self.launch()
        await until(self.answers, 40)

    async def launch(self) -> None:
        """Start it and return at once."""
        self.log = self.folder / f"{self.port}.log"
        settings = {
            "database_url": self.url,
            "data_dir": self.folder,
            "secret_key": SECRET,
            "service_env": "testing",
            "ratelimit_enabled": "false",
            "pythonpath": os.pathsep.join([str(PROJECT), *filter(None, sys.path)]),
            **self.settings,
        }
        config = self.folder / f"{self.port}.toml"
        config.write_text(self._config())
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command(config),
                *self.arguments(),
                env=os.environ | {name.upper(): str(value) for name, value in settings.items()},
                cwd=self.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def command(self, config: Path) -> list[str]:
        """The command that serves with a configuration of Hypercorn."""
        return [sys.executable, "-m", "service", "serve", "--config", str(config)]

    def arguments(self) -> list[str]:
        """What follows the command: where it listens."""
        return ["--bind", f"127.0.0.1:{self.port}"]

    def _config(self) -> str:
        """hypercorn.toml, with the values that differ in place of its own."""
        text = (PROJECT / "hypercorn.toml").read_text()
        for name, value in self.server.items():
            text = re.sub(rf"(?m)^{name} = .*$", f"{name} = {json.dumps(value)}", text)
        return text

    async def answers(self, path: str = "/health/live") -> bool:
        """Whether it answers 200."""
        if self.process.returncode is not None:
            raise AssertionError(f"ended with {self.process.returncode}: {self.log.read_text()}")
        try:
            return (await ask(self.port, "GET", path)).status == 200
        except (OSError, EOFError):
            return False

    def terminate(self) -> None:
        """Send SIGTERM, as an orchestrator does."""
        self.process.send_signal(signal.SIGTERM)

    async def ended(self) -> tuple[int, float]:
        """Wait for its end; exit code and the seconds that it took."""
        start = time.monotonic()
        async with asyncio.timeout(60):
            return await self.process.wait(), time.monotonic() - start

    async def kill(self) -> None:
        """End it, however it is."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    def resident(self) -> int:
        """The memory it holds, in bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def cpu(self) -> float:
        """The processor time it has used, in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def connections(self) -> int:
        """How many connections of clients it has taken and not closed (proc_net_tcp(5))."""
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        sockets = [(line.split()[1], line.split()[3], line.split()[9]) for line in lines]
        return sum(
            local == f"0100007F:{self.port:04X}" and state != "0A" and inode != "0"
            for local, state, inode in sockets
        )


@asynccontextmanager
async def service_process(
    url: str, folder: Path, **options: object
) -> AsyncIterator[ServiceProcess]:
    """A running service that does not outlive the test; options are settings, or the server's.

    It must not log a traceback, unless it `may_fail`.
    """
    server = {name: options.pop(name) for name in SERVER_OPTIONS if name in options}
    service = ServiceProcess(url, folder, server, options)
    try:
        await service.start()
        yield service
    finally:
        await service.kill()
    logged = service.log.read_text()
    assert service.may_fail or "Traceback" not in logged, logged


class Connection:
    """A keep-alive HTTP/1.1 connection; it costs little, so that the server's part shows."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.token = ""
        self.open = False

    async def __aenter__(self) -> Self:
        self.reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self.open = False
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def send(self, method: str, path: str, body: Any = None) -> None:
        """Send a request."""
        data = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(data)}"]
        if data:
            lines.append("Content-Type: application/json")
        if self.token:
            lines.append(f"Authorization: Bearer {self.token}")
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + data)
        await self._writer.drain()

    async def send_part(self, method: str, path: str, length: int) -> None:
        """Send the head of a request, with a body that never comes."""
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}"]
        lines += ["Content-Type: application/json", f"Authorization: Bearer {self.token}", "", ""]
        self._writer.write("\r\n".join(lines).encode())
        await self._writer.drain()

    async def receive(self) -> RawAnswer:
        """Read the answer; closed connections are closed here, too."""
        answer = parse(await self.reader.readuntil(b"\r\n\r\n"))
        answer.body = await self.reader.readexactly(int(answer.headers.get("content-length", 0)))
        if answer.headers.get("connection") == "close":
            await self.__aexit__()
        return answer

    async def request(self, method: str, path: str, body: Any = None) -> RawAnswer:
        """Send a request and read the answer, on a new connection when the last one ended."""
        if not self.open:
            await self.__aenter__()
        await self.send(method, path, body)
        return await self.receive()

    async def sign_up(self, name: str) -> None:
        """Register an account and keep its token."""
        credentials = {"email": f"{name}@example.com", "password": "correct horse battery staple"}
        assert (await self.request("POST", "/auth/register", credentials)).status == 201
        answer = await self.request("POST", "/auth/login", credentials)
        self.token = answer.json["access_token"]


async def ask(port: int, method: str, path: str, body: Any = None) -> RawAnswer:
    """One request on a connection of its own."""
    async with Connection(port) as connection:
        return await connection.request(method, path, body)
