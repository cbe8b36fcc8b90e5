"""Servers for the tests of connections."""

from collections.abc import AsyncIterator

import hypercorn.asyncio.run
import hypercorn.protocol
import pytest
from hypercorn.asyncio.tcp_server import TCPServer

from service.settings import ServerName
from service.testing.application import make_app, make_settings
from service.testing.database import Databases
from service.testing.server import serving
from service.web.server.hypercorn.patches import patch_hypercorn


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypercorn as the service runs it, for this test alone."""
    monkeypatch.setattr(TCPServer, "_read_data", TCPServer._read_data)
    monkeypatch.setattr(TCPServer, "run", TCPServer.run)
    monkeypatch.setattr(TCPServer, "protocol_send", TCPServer.protocol_send)
    monkeypatch.setattr(TCPServer, "_close", TCPServer._close)
    for module, name in (
        (hypercorn.asyncio.run, "WorkerContext"),
        (hypercorn.protocol, "H11Protocol"),
        (hypercorn.protocol, "H2Protocol"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))
    patch_hypercorn()


@pytest.fixture(scope="session")
async def shared_port(
    server: ServerName, service_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[int]:
    """The port of one application for the tests that write nothing."""
    data_dir = tmp_path_factory.mktemp("served")
    with service_databases.database() as database:
        settings = make_settings(database_url=database.url, data_dir=data_dir)
        async with serving(make_app(settings), server=server) as port:
            yield port
