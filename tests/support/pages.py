"""The example page and others, served to a real browser from an origin of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from playwright.async_api import BrowserContext, Locator, Page, expect

from service.settings import PROJECT
from tests.support.client import Client

EXAMPLE = PROJECT / "examples" / "browser"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving_files(folder: Path) -> Iterator[int]:
    """Serve a folder as `python3 -m http.server` does; yields the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Site:
    """The service and the page, each with an origin of its own."""

    client: Client
    api: str
    page: str

    async def open(self, browser: BrowserContext) -> Page:
        """Open the page in a new tab."""
        tab = await browser.new_page()
        await tab.goto(f"{self.page}/?api={self.api}")
        await expect(tab.locator("#live")).to_have_text("live")
        return tab


def post(tab: Page, title: str) -> Locator:
    return tab.get_by_role("article", name=title, exact=True)
