"""`service run --reload`: the server as a process of its own, restarted when the code changes.

The database and the listening socket stay, so that no connection is refused meanwhile.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
from watchfiles import PythonFilter, awatch

from service.cli.development_server import serve_development
from service.cli.signals import on_stop
from service.observability.logging import configure_logging
from service.settings import PROJECT, Settings, load_settings

WATCHED: Final = (PROJECT / "service", PROJECT / "alembic")
PATIENCE: Final = 5.0  # seconds


def serve_reloading(
    settings: Settings, listener: socket.socket, announce: Callable[[], None]
) -> None:
    """Serve until SIGINT or SIGTERM."""
    announce()
    click.echo("Restarts when a file under service/ or alembic/ changes.")
    with asyncio.Runner() as runner:
        runner.run(_supervise(settings, listener))


async def _supervise(settings: Settings, listener: socket.socket) -> None:
    stop = asyncio.Event()
    on_stop(stop.set)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # what changed is written below
    server = Server(settings, listener)
    await server.start()
    async for changes in awatch(*WATCHED, watch_filter=PythonFilter(), stop_event=stop):
        names = sorted({str(Path(path).relative_to(PROJECT)) for _, path in changes})
        click.echo(f"Changed: {', '.join(names)}. Restarting …")
        await server.stop()
        await server.start()
    await server.stop()


class Server:
    """The process that serves."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._environment = {**os.environ, "DATABASE_URL": settings.database_dsn}
        self._listener = listener.fileno()

    async def start(self) -> None:
        """Start the process, and report when it ends by itself."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", __name__, str(self._listener)),
            env=self._environment,
            pass_fds=[self._listener],
            stdin=PIPE,  # closed by the kernel when this process is gone, however it went
        )
        self._watching = asyncio.create_task(_report_end(self._process))

    async def stop(self) -> None:
        """End the process, by force when that takes too long."""
        self._watching.cancel()
        if self._process.returncode is None:
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), PATIENCE)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


async def _report_end(process: Process) -> None:
    if code := await process.wait():
        click.echo(f"The server ended with code {code}; the next change starts it again.", err=True)


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


def main(listener: int) -> None:
    """Serve on the inherited socket, as long as standard input is open."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    settings = load_settings()
    configure_logging(settings)
    try:
        serve_development(settings, socket.socket(fileno=listener), lambda: click.echo("Ready."))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(int(sys.argv[1]))
