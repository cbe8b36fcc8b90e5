"""TLS by hypercorn.toml's settings, which both servers follow."""

import asyncio
import ssl
from pathlib import Path

import pytest
from hypercorn.config import Config

from service.settings import ServerName, Settings
from service.testing.application import make_app
from service.testing.server import serving
from tests.support.certificates import make_certificate
from tests.support.server import kept_alive, receive


async def test_tls_is_served_with_the_best_protocol_of_the_server(
    settings: Settings, server: ServerName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path)
    monkeypatch.setattr(Config, "certfile", str(certificate))
    monkeypatch.setattr(Config, "keyfile", str(certificate))
    context = ssl.create_default_context(cafile=str(certificate))
    chosen = {}
    async with serving(make_app(settings), server=server) as port:
        for offered in (["h2", "http/1.1"], ["http/1.1"]):
            context.set_alpn_protocols(offered)
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            chosen[offered[0]] = writer.get_extra_info("ssl_object").selected_alpn_protocol()
            if offered[0] != "h2":
                writer.write(kept_alive("GET", "/health/live"))
                assert (await receive(reader)).status == 200
            writer.close()
            await writer.wait_closed()
    assert chosen == {"h2": "h2" if server == "hypercorn" else "http/1.1", "http/1.1": "http/1.1"}
