"""The service as production runs it: Hypercorn in a process of its own."""

import asyncio
import os
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from service.settings import PROJECT
from tests.conftest import SECRET
from tests.server import exchange, head

START_TIMEOUT = 30  # seconds


@asynccontextmanager
async def running(
    database_url: str, folder: Path, worker_class: str = "uvloop"
) -> AsyncIterator[tuple[Process, int]]:
    """Run it, without limits of rates; yields the process and its port. It must tell no failure."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    config = folder / "hypercorn.toml"
    config.write_text(
        f'bind = ["127.0.0.1:{port}"]\nworkers = 0\nworker_class = "{worker_class}"\n'
        "graceful_timeout = 60\n"
    )
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "SECRET_KEY": SECRET,
        "RATELIMIT_ENABLED": "false",
    }
    arguments = ["-m", "service", "serve", "--config", str(config)]
    # Into a file: a pipe that nobody empties would stop the service at its next line.
    log = folder / "hypercorn.log"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, cwd=PROJECT, env=environment, stderr=errors
        )
    try:
        await _answering(process, port)
        yield process, port
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    told = log.read_text()
    assert "Traceback" not in told, told


async def _answering(process: Process, port: int) -> None:
    async with asyncio.timeout(START_TIMEOUT):
        while process.returncode is None:
            with suppress(OSError):
                await exchange(port, head("GET", "/health/live"))
                return
            await asyncio.sleep(0.02)
