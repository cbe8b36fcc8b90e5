"""The application on a real port."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hypercorn.config import Config

from service.settings import ServerName
from service.web.server.application import Service
from service.web.server.serve import load_server


@dataclass(frozen=True)
class Server:
    """Where an application is served."""

    port: int

    @property
    def url(self) -> str:
        """The address without a path, such as http://127.0.0.1:54321."""
        return f"http://127.0.0.1:{self.port}"


def bound_socket() -> socket.socket:
    """A socket with a port of its own on loopback; until it listens, clients are refused."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


@asynccontextmanager
async def serving(
    app: Service,
    bound: socket.socket | None = None,
    *,
    server: ServerName = "hypercorn",
    graceful_timeout: float = 1,
) -> AsyncIterator[int]:
    """Serve an application that is not started yet; at the end it is stopped. Yields the port.

    Requests under way then have `graceful_timeout` seconds. Raises ServerMissing, and what keeps it
    from starting.
    """
    bound = bound or bound_socket()
    port: int = bound.getsockname()[1]
    config = Config()
    config.bind = [f"fd://{bound.detach()}"]
    config.errorlog = None
    config.graceful_timeout = graceful_timeout
    started = asyncio.Event()

    @app.while_serving
    async def note_start() -> AsyncGenerator[None, None]:
        started.set()
        yield

    serve_task = asyncio.create_task(load_server(server)(app, config))
    start_task = asyncio.create_task(started.wait())
    await asyncio.wait({serve_task, start_task}, return_when=asyncio.FIRST_COMPLETED)
    start_task.cancel()
    try:
        if not serve_task.done():
            yield port
    finally:
        app.shutdown_state.close_port()
        await serve_task
