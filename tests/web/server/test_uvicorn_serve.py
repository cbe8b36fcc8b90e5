"""How uvicorn's server starts and ends."""

import logging
from contextlib import AsyncExitStack

import pytest

from service.app import create_app
from service.settings import Settings
from service.testing.server import serving
from tests.support.server import connected, exchange, head


async def test_application_is_stopped_when_the_server_fails(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_arguments: object) -> None:
        raise OSError("no descriptor is left")

    monkeypatch.setattr("service.web.server.uvicorn.serve._Server.serve", fail)
    app, stopped = create_app(settings), list[str]()

    @app.after_serving
    async def note_stop() -> None:
        stopped.append("stopped")

    with pytest.raises(OSError, match="no descriptor is left"):
        async with serving(app, server="uvicorn"):
            pass
    assert stopped


async def test_log_of_the_shutdown_names_no_key(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "uvicorn.error")
    lines = ["Content-Type: application/json", "Content-Length: 9"]
    async with AsyncExitStack() as stack, serving(create_app(settings), server="uvicorn") as port:
        _, writer = await stack.enter_async_context(connected(port))
        writer.write(head("POST", "/auth/login", *lines))  # it waits for its body
        await exchange(port, head("GET", "/health/live"))
    assert "Waiting for connections to close." in caplog.text
    assert "CTRL+C" not in caplog.text
