"""Hypercorn for the tests of connections."""

import hypercorn.protocol
import pytest
from hypercorn.asyncio.tcp_server import TCPServer

from service.web.server.hypercorn_patches import patch_hypercorn


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypercorn as the service runs it, for this test alone."""
    monkeypatch.setattr(TCPServer, "_read_data", TCPServer._read_data)
    monkeypatch.setattr(TCPServer, "run", TCPServer.run)
    monkeypatch.setattr(TCPServer, "protocol_send", TCPServer.protocol_send)
    for name in ("H11Protocol", "H2Protocol"):
        monkeypatch.setattr(hypercorn.protocol, name, getattr(hypercorn.protocol, name))
    patch_hypercorn()
