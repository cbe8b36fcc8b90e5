"""Passkeys in a real browser, with the authenticator that Chromium has for tests.

Pages convert nothing: what the service gives and takes is what the browser parses and makes.
"""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import CDPSession, Page, async_playwright

from service.testing.application import make_app, make_settings
from service.testing.client import PASSWORD
from service.testing.server import bound_socket, serving
from tests.support.client import Client
from tests.support.devices import PLATFORM, U2F
from tests.support.second_factor import verify_email

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

# Sends a request as the page, and shows a credential where the response asks for one.
SCRIPT = """() => {
globalThis.call = async (method, path, body) => {
  const headers = {"Content-Type": "application/json"};
  if (globalThis.token) headers.Authorization = "Bearer " + globalThis.token;
  const answer = await fetch(path, {method, headers, body: body && JSON.stringify(body)});
  const json = answer.status === 204 ? null : await answer.json();
  return {status: answer.status, json};
};
globalThis.create = async (options) => {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options.publicKey);
  return (await navigator.credentials.create({publicKey})).toJSON();
};
globalThis.show = async (options, more) => {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options.publicKey);
  return (await navigator.credentials.get({publicKey, ...more})).toJSON();
};
}"""


@dataclass
class Tab:
    """A page of the service's, whose scripts call it."""

    page: Page
    devices: CDPSession

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request; returns status and body."""
        return await self.page.evaluate("args => call(...args)", [method, path, body])

    async def sign_in(self, answer: Any) -> None:
        """Send the access token of a login from now on."""
        assert answer["status"] == 200, answer
        await self.page.evaluate(
            "token => { globalThis.token = token }", answer["json"]["access_token"]
        )

    async def sign_out(self) -> None:
        """Send no access token from now on."""
        await self.page.evaluate("() => { globalThis.token = '' }")

    async def plug_in(self, options: dict[str, object]) -> str:
        """Connect an authenticator, and return its id."""
        command = "WebAuthn.addVirtualAuthenticator"
        answer = await self.devices.send(command, {"options": options})
        return str(answer["authenticatorId"])

    async def unplug(self, authenticator: str) -> None:
        """Disconnect an authenticator."""
        command = "WebAuthn.removeVirtualAuthenticator"
        await self.devices.send(command, {"authenticatorId": authenticator})

    async def add(self, kind: str) -> Any:
        """Add a credential to the account."""
        options = await self.call("POST", "/auth/passkeys/options", {"kind": kind})
        assert options["status"] == 200, options
        credential = await self.page.evaluate("options => create(options)", options["json"])
        answer = await self.call("POST", "/auth/passkeys", {"credential": credential})
        assert answer["status"] == 201, answer
        return answer["json"]

    async def show(self, path: str, body: Any = None, **more: Any) -> Any:
        """Show a credential for the options of a route, and return it."""
        options = await self.call("POST", path, body)
        assert options["status"] == 200, options
        return await self.page.evaluate("args => show(...args)", [options["json"], more])


@pytest.fixture
async def tab(database_url: str, tmp_path: Path) -> AsyncIterator[tuple[Tab, Client]]:
    """A page of the service, in a browser, and a client of the same service."""
    bound = bound_socket()
    port = bound.getsockname()[1]
    app = make_app(make_settings(database_url=database_url, data_dir=tmp_path, port=port))
    async with serving(app, bound), chromium() as page:
        await page.goto(f"http://localhost:{port}/health/live")
        await page.evaluate(SCRIPT)
        devices = await page.context.new_cdp_session(page)
        await devices.send("WebAuthn.enable")
        yield Tab(page, devices), Client(app)


@asynccontextmanager
async def chromium() -> AsyncIterator[Page]:
    """A page of a headless browser."""
    path = shutil.which("chromium")
    assert path, "install the package chromium"
    async with async_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--no-first-run"]
        browser = await playwright.chromium.launch(executable_path=path, args=flags)
        yield await browser.new_page()
        await browser.close()


async def test_a_browser_adds_passkeys_signs_in_by_autofill_and_steps_up(
    tab: tuple[Tab, Client],
) -> None:
    browser, client = tab
    one = await client.sign_up()
    await verify_email(one)
    credentials = {"email": one.user["email"], "password": PASSWORD}
    await browser.sign_in(await browser.call("POST", "/auth/login", credentials))
    platform = await browser.plug_in(PLATFORM)
    passkey = await browser.add("passkey")
    assert (passkey["kind"], passkey["rp_id"]) == ("passkey", "localhost")
    step_up = {"passkey": await browser.show("/auth/step-up/options")}
    assert (await browser.call("POST", "/auth/step-up", step_up))["status"] == 200

    await browser.sign_out()
    path = "/auth/login/passkey"
    shown = await browser.show(f"{path}/options", mediation="conditional")
    answer = await browser.call("POST", path, {"credential": shown})
    await browser.sign_in(answer)
    assert answer["json"]["user"]["id"] == one.user["id"]
    assert (await browser.call("POST", path, {"credential": shown}))["status"] == 401

    # A user whom the authenticator does not recognise.
    await browser.devices.send(
        "WebAuthn.setUserVerified", {"authenticatorId": platform, "isUserVerified": False}
    )
    with pytest.raises(Exception, match="NotAllowedError"):
        await browser.show(f"{path}/options")
    await browser.unplug(platform)

    await browser.plug_in(U2F)
    key = await browser.add("security_key")
    assert key["kind"] == "security_key"
    assert (await browser.call("PUT", "/auth/second-factor"))["status"] == 200
    await browser.sign_out()
    waiting = await browser.call("POST", "/auth/login", credentials)
    assert waiting["status"] == 403
    token = {"login_token": waiting["json"]["login_token"]}
    shown = await browser.show("/auth/login/second-factor/options", token)
    assert shown["response"].get("userHandle") is None
    answer = await browser.call("POST", "/auth/login/second-factor", {**token, "passkey": shown})
    await browser.sign_in(answer)


async def test_a_copied_passkey_is_found_by_its_counter(tab: tuple[Tab, Client]) -> None:
    browser, client = tab
    one = await client.sign_up()
    await verify_email(one)
    credentials = {"email": one.user["email"], "password": PASSWORD}
    await browser.sign_in(await browser.call("POST", "/auth/login", credentials))
    platform = await browser.plug_in(PLATFORM)
    await browser.add("passkey")
    path = "/auth/login/passkey"
    for _ in range(2):
        shown = await browser.show(f"{path}/options")
        assert (await browser.call("POST", path, {"credential": shown}))["status"] == 200
    held = await browser.devices.send("WebAuthn.getCredentials", {"authenticatorId": platform})
    await browser.unplug(platform)
    (copy,) = held["credentials"]
    other = await browser.plug_in(PLATFORM)
    await browser.devices.send(
        "WebAuthn.addCredential", {"authenticatorId": other, "credential": {**copy, "signCount": 0}}
    )
    shown = await browser.show(f"{path}/options")
    answer = await browser.call("POST", path, {"credential": shown})
    assert (answer["status"], answer["json"]["reason"]) == (401, "passkey_refused")
    events = await (await client.as_admin()).get("/admin/events?kind=passkey.cloned")
    assert [event["user_id"] for event in events.json["events"]] == [one.user["id"]]
