"""uvicorn by its public API, with the same end as Hypercorn's."""

import asyncio
import logging
import math
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import uvicorn
from hypercorn.config import Config
from hypercorn.utils import LifespanFailureError, LifespanTimeoutError, repr_socket_addr

from service.web.server.application import Service
from service.web.server.uvicorn.config import ServerConfig
from service.web.server.uvicorn.connection import Connection

# Seconds between two updates of the Date header.
_TICK: Final = 1.0
_log: Final = logging.getLogger("uvicorn.error")
_HINT: Final = " (CTRL+C to force quit)"


class _Server(uvicorn.Server):
    """uvicorn's server, ended by the application's shutdown instead of by signals."""

    def __init__(self, config: ServerConfig) -> None:
        super().__init__(config)
        self._service = config.service
        self._graceful_timeout = config.options.graceful_timeout

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the command."""
        yield

    async def main_loop(self) -> None:
        """Wait for the shutdown to close the port; uvicorn's own loop asks ten times a second."""
        closing = self._service.shutdown_state.port_closing
        while not closing.is_set():
            await self.on_tick(0)
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK):
                    await closing.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the port and idle connections, and each other one after its response, in time."""
        left = self._service.shutdown_state.seconds_left(self._graceful_timeout)
        # So that the end comes even if a connection does not end although it is aborted.
        self.config.timeout_graceful_shutdown = math.ceil(left) + 1
        timer = asyncio.get_running_loop().call_later(left, self._abort_connections)
        try:
            with _without_hint():
                await super().shutdown(sockets)
        finally:
            timer.cancel()

    def _abort_connections(self) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.abort()


@contextmanager
def _without_hint() -> Iterator[None]:
    """Log without uvicorn's hint at a key that does nothing, because signals end the command."""

    def remove_hint(record: logging.LogRecord) -> bool:
        record.msg = str(record.msg).removesuffix(_HINT)
        return True

    _log.addFilter(remove_hint)
    try:
        yield
    finally:
        _log.removeFilter(remove_hint)


async def serve(app: Service, options: Config) -> None:
    """Serve until the application's shutdown closes the port, then finish the requests in flight.

    They have `graceful_timeout` seconds from the beginning of the shutdown, or from the end of
    DRAIN_SECONDS; then their connections are aborted. Raises what prevents the start, such as
    OSError for a port in use.
    """
    config = ServerConfig(app, options, Connection)
    sockets = options.create_sockets()
    listeners = sockets.secure_sockets or sockets.insecure_sockets
    scheme = "https" if config.is_ssl else "http"
    try:
        async with _running(app, options):
            for listener in listeners:
                address = repr_socket_addr(listener.family, listener.getsockname())
                _log.info("Running on %s://%s", scheme, address)
            await _Server(config).serve(listeners)
    finally:
        for listener in listeners:
            listener.close()


@asynccontextmanager
async def _running(app: Service, options: Config) -> AsyncIterator[None]:
    """Start the application, and stop it. Raises Hypercorn's errors when it does not."""
    async with _stage("startup", options.startup_timeout):
        await app.startup()
    try:
        yield
    finally:
        async with _stage("shutdown", options.shutdown_timeout):
            await app.shutdown()


@asynccontextmanager
async def _stage(name: str, seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise LifespanTimeoutError(name) from error
    except Exception as error:
        raise LifespanFailureError(name, str(error)) from error
