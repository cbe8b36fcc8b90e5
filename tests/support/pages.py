"""The example page and others, served to a real browser from an origin of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from playwright.async_api import BrowserContext, Dialog, Locator, Page, expect

from service.settings import PROJECT
from service.testing.client import PASSWORD
from tests.support.client import Client

EXAMPLE = PROJECT / "examples" / "browser"
EMAIL = "ada@example.com"
# What an external provider says of the person.
PERSON = {"email": EMAIL, "email_verified": True, "name": "Ada <b>"}
STALE = 901.0  # seconds, more than STEP_UP_MAX_AGE


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


async def fill_sign_in(tab: Page, action: str = "Log in") -> None:
    await tab.fill("#email", EMAIL)
    await tab.fill("#password", PASSWORD)
    await tab.get_by_role("button", name=action).click()


async def open_security(tab: Page) -> None:
    """Log in and go to the page."""
    await fill_sign_in(tab)
    await tab.get_by_role("link", name="Security").click()
    await expect(tab.locator("#factor-state")).to_contain_text("Off.")


def button(tab: Page, name: str) -> Locator:
    return tab.get_by_role("button", name=name, exact=True)


async def prove(tab: Page, method: str, value: str) -> Locator:
    """Fill in the dialog that asks for a proof; returns it."""
    dialog = tab.get_by_role("dialog")
    await expect(dialog).to_be_visible()
    choice = dialog.get_by_role("radio", name=method)
    if await choice.is_visible():
        await choice.check()
    await dialog.locator("#proof-value").fill(value)
    await dialog.get_by_role("button", name="Continue").click()
    return dialog


def agreeing(tab: Page, text: str = "") -> None:
    """Answer each question of the page with yes, and what it asks for with `text`."""

    async def accept(dialog: Dialog) -> None:
        await (dialog.accept(text) if dialog.type == "prompt" else dialog.accept())

    tab.on("dialog", accept)
