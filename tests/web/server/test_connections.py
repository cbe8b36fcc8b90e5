"""Connections of real clients to the real server."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from service.app import create_app
from service.settings import ServerName, Settings
from service.testing.server import serving
from tests.support.polling import until
from tests.support.processes import Connection, service_process
from tests.support.server import connected
from tests.support.servers import uvicorn_later

CLIENTS = 40


@uvicorn_later
@pytest.mark.parametrize("path", ["/health/live", "/api/posts"])
async def test_connections_end_with_their_clients(
    database_url: str, tmp_path: Path, server: ServerName, path: str
) -> None:
    async with service_process(database_url, tmp_path, server=server) as service:

        async def client() -> None:
            async with Connection(service.port) as connection:
                assert (await connection.request("GET", path)).status == 200

        async def closed() -> bool:
            return service.connections() == 0

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        await until(closed)  # and not only after keep_alive_timeout, 75 s


@pytest.mark.usefixtures("patched")
async def test_clients_may_leave_as_the_server_ends(settings: Settings, server: ServerName) -> None:
    """In each turn of the loop about the end: one of them was waited for until the timeout."""
    for turns in range(10):
        async with (
            AsyncExitStack() as clients,
            serving(create_app(settings), server=server) as port,
        ):
            writers = [
                (await clients.enter_async_context(connected(port)))[1] for _ in range(CLIENTS)
            ]
            asyncio.get_running_loop().call_soon(leave, writers, turns)
            start = time.monotonic()
        assert time.monotonic() - start < 0.9


def leave(writers: list[asyncio.StreamWriter], turns: int) -> None:
    """Close them all after so many turns."""
    if turns:
        asyncio.get_running_loop().call_soon(leave, writers, turns - 1)
    else:
        for writer in writers:
            writer.close()
