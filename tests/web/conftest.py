"""A browser for the tests of pages, and the example page."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, async_playwright, expect

from service.settings import Environment
from service.testing.application import make_app, make_settings
from service.testing.server import serving
from tests.support.client import Client
from tests.support.pages import EXAMPLE, Site, serving_files
from tests.support.polling import PATIENCE
from tests.support.server import exchange, head

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
    """A headless Chromium with an empty profile, which waits for its pages for PATIENCE."""
    chromium = shutil.which("chromium")
    assert chromium, "install the package chromium"
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=chromium, args=_FLAGS
        )
        context.set_default_timeout(1000 * PATIENCE)
        expect.set_options(timeout=1000 * PATIENCE)
        yield context
        await context.close()


@pytest.fixture
def site_settings() -> dict[str, object]:
    """Further settings of the site's service; a module may override this fixture."""
    return {}


@pytest.fixture
async def site(
    database_url: str, tmp_path: Path, site_settings: dict[str, object]
) -> AsyncIterator[Site]:
    with serving_files(EXAMPLE) as page_port:
        page = f"http://localhost:{page_port}"
        settings = make_settings(
            database_url=database_url,
            data_dir=tmp_path,
            service_env=Environment.DEVELOPMENT,
            cors_origins=page,
            **site_settings,
        )
        app = make_app(settings)
        async with serving(app) as port:
            await exchange(port, head("GET", "/health/live"))  # it has started
            yield Site(Client(app), f"http://localhost:{port}", page)
