"""A browser for the tests of pages, and the example page."""

import shutil
from collections.abc import AsyncIterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, Page, Route, async_playwright, expect

from service.settings import Environment
from service.testing.application import make_app, make_settings
from service.testing.server import bound_socket, serving
from tests.support.client import Client
from tests.support.console import Console
from tests.support.pages import EMAIL, EXAMPLE, PERSON, Site, serving_files
from tests.support.polling import PATIENCE
from tests.support.provider import Provider
from tests.support.provider import serving as serving_provider
from tests.support.second_factor import verify_email
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


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """One headless Chromium for all tests, which takes a second to start."""
    program = shutil.which("chromium")
    assert program, "install the package chromium"
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield started
        await started.close()


@pytest.fixture
async def browser(chromium: Browser) -> AsyncIterator[BrowserContext]:
    """A profile of its own in Chromium, empty, which waits for its pages for PATIENCE."""
    context = await chromium.new_context()
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
        bound = bound_socket()
        settings = make_settings(
            port=bound.getsockname()[1],
            database_url=database_url,
            data_dir=tmp_path,
            service_env=Environment.DEVELOPMENT,
            cors_origins=page,
            **site_settings,
        )
        app = make_app(settings)
        async with serving(app, bound) as port:
            await exchange(port, head("GET", "/health/live"))  # it has started
            yield Site(Client(app), f"http://localhost:{port}", page)


@pytest.fixture
async def console(
    database_url: str, tmp_path: Path, site_settings: dict[str, object]
) -> AsyncIterator[Console]:
    bound = bound_socket()
    port = bound.getsockname()[1]
    url = f"http://localhost:{port}"
    settings = make_settings(
        port=port,
        public_url=url,
        database_url=database_url,
        data_dir=tmp_path,
        service_env=Environment.DEVELOPMENT,
        **site_settings,
    )
    app = make_app(settings)
    async with serving(app, bound) as port:
        await exchange(port, head("GET", "/health/live"))  # it has started
        yield Console(Client(app), url)


@pytest.fixture
async def complaints(browser: BrowserContext) -> AsyncIterator[list[str]]:
    """What pages complain of, the refusals of their policy among it: nothing."""
    found: list[str] = []

    def watch(page: Page) -> None:
        page.on("pageerror", lambda error: found.append(error.message))
        page.on("console", lambda line: found.append(line.text) if line.type == "error" else None)

    browser.on("page", watch)
    yield found
    # Chromium's own line for each response of a failure.
    assert [line for line in found if not line.startswith("Failed to load resource")] == []


@pytest.fixture
async def ada(site: Site) -> Client:
    """The account, with a verified address."""
    client = await site.client.sign_up(EMAIL, username="ada")
    await verify_email(client)
    return client


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """An external provider, which a module names in its settings."""
    async with serving_provider() as one:
        yield one


@pytest.fixture
async def at_provider(browser: BrowserContext, provider: Provider) -> None:
    """The provider's page, where the person agrees or does not."""

    async def ask(route: Route) -> None:
        url = route.request.url
        query = dict(parse_qsl(urlsplit(url).query))
        refused = {"error": "access_denied", "state": query["state"]}
        links: dict[str, dict[str, Any]] = {
            "Agree": provider.consent(url, **PERSON),
            "Refuse": refused,
        }
        texts = "".join(
            f'<a href="{escape(query["redirect_uri"])}?{escape(urlencode(carried))}">{text}</a> '
            for text, carried in links.items()
        )
        await route.fulfill(body=f"<!doctype html>{texts}", content_type="text/html")

    await browser.route(f"{provider.issuer}/authorize?*", ask)
