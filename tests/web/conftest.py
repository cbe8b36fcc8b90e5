"""What the tests of pages and connections may ask for."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypercorn.asyncio.tcp_server import TCPServer
from playwright.async_api import BrowserContext, async_playwright

from service.web.server.hypercorn_patches import patch_hypercorn

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[BrowserContext]:
    """A headless Chromium with an empty profile."""
    chromium = shutil.which("chromium")
    assert chromium, "install the package chromium"
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=chromium, args=_FLAGS
        )
        yield context
        await context.close()


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypercorn as the service runs it, for this test alone."""
    monkeypatch.setattr(TCPServer, "_read_data", TCPServer._read_data)
    monkeypatch.setattr(TCPServer, "run", TCPServer.run)
    patch_hypercorn()
