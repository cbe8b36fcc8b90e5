"""Connections of real clients to the real server."""

import asyncio
from pathlib import Path

import pytest

from tests.processes import Connection, service_process
from tests.waiting import until

CLIENTS = 40


@pytest.mark.parametrize("path", ["/health/live", "/api/posts"])
async def test_connections_end_with_their_clients(
    database_url: str, tmp_path: Path, path: str
) -> None:
    async with service_process(database_url, tmp_path) as service:

        async def client() -> None:
            async with Connection(service.port) as connection:
                assert (await connection.request("GET", path)).status == 200

        async def closed() -> bool:
            return service.connections() == 0

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        await until(closed)  # and not only after keep_alive_timeout, 75 s
