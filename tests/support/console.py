"""The operators' console in a real browser, whose elements are found by their roles and labels."""

from base64 import b64encode
from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from playwright.async_api import BrowserContext, Locator, Page, expect

from service.testing.client import PASSWORD
from tests.support.authenticator import Credential
from tests.support.client import Client
from tests.support.devices import PLATFORM, Device, plug_in

OPERATOR = "ada@example.com"


@dataclass
class Console:
    """The service, at the address of its console."""

    client: Client
    url: str

    async def operator(self) -> Client:
        """The account of an operator, ada, with a session of its own beside the page's."""
        return await self.client.as_admin(OPERATOR)

    async def open(self, browser: BrowserContext, view: str = "") -> Page:
        """Open a view in a new tab, by its address."""
        tab = await browser.new_page()
        await tab.goto(f"{self.url}/console{view}")
        return tab

    async def enter(self, browser: BrowserContext, view: str = "") -> Page:
        """Open a view and sign in as ada."""
        tab = await self.open(browser, view)
        await sign_in(tab)
        await expect(tab.get_by_role("navigation")).to_be_visible()
        return tab


async def sign_in(tab: Page, email: str = OPERATOR, password: str = PASSWORD) -> None:
    """Fill in the form of the sign-in, and send it."""
    await tab.get_by_label("Email").fill(email)
    await tab.get_by_label("Password").fill(password)
    await button(tab, "Sign in").click()


def button(place: Page | Locator, name: str) -> Locator:
    return place.get_by_role("button", name=name, exact=True)


def heading(tab: Page, name: str) -> Locator:
    return tab.get_by_role("heading", level=1, name=name, exact=True)


def message(tab: Page) -> Locator:
    """What the page says that it did."""
    return tab.locator("#message")


def failure(tab: Page) -> Locator:
    """Why the page did not do it."""
    return tab.locator("#failure")


async def do(tab: Page, deed: str, agree: str, said: str) -> None:
    """Press the button of a deed, agree in the dialog, and see that the page says what it did."""
    await button(tab, deed).click()
    dialog = tab.get_by_role("dialog")
    await expect(button(dialog, "Cancel")).to_be_focused()
    await button(dialog, agree).click()
    await expect(message(tab)).to_have_text(said)
    await expect(dialog).to_have_count(0)


# The labels of the fields in the dialog that asks for a proof, by the choice that shows them.
FIELDS = {
    "Authenticator app": "Code from your authenticator app",
    "Recovery code": "One of your recovery codes",
    "Password": "Your password",
}


async def prove(tab: Page, method: str, value: str = "") -> Locator:
    """Fill in the dialog that asks for a proof; returns it."""
    dialog = tab.get_by_role("dialog")
    await expect(dialog).to_be_visible()
    choice = dialog.get_by_role("radio", name=method)
    if await choice.is_visible():
        await choice.check()
    if method in FIELDS:
        await dialog.get_by_label(FIELDS[method]).fill(value)
    await button(dialog, "Continue").click()
    return dialog


async def keep_passkey(tab: Page, credential: Credential) -> Device:
    """Connect an authenticator to a tab that holds a credential."""
    device = await plug_in(tab, PLATFORM)
    key = credential.key.private_bytes(
        Encoding.DER, PrivateFormat.PKCS8, encryption_algorithm=NoEncryption()
    )
    stored = {
        "credentialId": credential.id,
        "privateKey": key,
        "userHandle": credential.user_handle,
    }
    encoded = {name: b64encode(value).decode() for name, value in stored.items()}
    more = {"rpId": credential.rp_id, "isResidentCredential": True, "signCount": 0}
    await device.store({**encoded, **more})
    return device
