"""The example page's passkeys in a real browser, with the authenticator it has for tests."""

import pytest
from playwright.async_api import BrowserContext, Page, expect

from service.testing.clock import Clock
from tests.support.client import Client
from tests.support.devices import PLATFORM, U2F, plug_in
from tests.support.pages import STALE, Site, agreeing, button, fill_sign_in, open_security

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

PASSKEY = "Passkey or security key"


async def add(tab: Page, name: str, action: str = "Add a passkey") -> None:
    await tab.get_by_label("What you call it").fill(name)
    await button(tab, action).click()
    await expect(tab.get_by_role("status")).to_have_text(f"{name} is added.")


async def log_out(tab: Page) -> None:
    await tab.get_by_role("link", name="Posts").click()
    await button(tab, "Log out").click()


async def log_out_and_in(tab: Page) -> None:
    """Log out, whereupon the authenticator picks its only passkey for the field."""
    async with tab.expect_response("**/auth/login/passkey"):
        await log_out(tab)
    await expect(tab.locator("#username")).to_have_text("ada")


async def turn_on(tab: Page) -> None:
    await button(tab, "Turn on with your passkey").click()
    await expect(tab.locator("#codes-title")).to_be_focused()
    await button(tab, "I have kept them").click()
    await expect(tab.locator("#factor-state")).to_contain_text("On.")


async def show_passkey(tab: Page) -> None:
    """Choose the passkey in the dialog that asks for a proof."""
    dialog = tab.get_by_role("dialog")
    choice = dialog.get_by_role("radio", name=PASSKEY)
    if await choice.is_visible():
        await choice.check()
    await expect(dialog.locator("#proof-value")).to_be_hidden()
    await dialog.get_by_role("button", name="Continue").click()


async def test_person_adds_names_and_removes_a_passkey_and_logs_in_by_autofill(
    site: Site, browser: BrowserContext, ada: Client, complaints: list[str]
) -> None:
    tab = await site.open(browser)
    agreeing(tab, "Telephone <b>")
    await open_security(tab)
    device = await plug_in(tab, PLATFORM)
    await add(tab, "Laptop")
    await button(tab, "Rename Laptop").click()
    await expect(tab.get_by_role("status")).to_have_text("Laptop is called Telephone <b> now.")
    [passkey] = (await ada.get("/auth/passkeys")).json["passkeys"]
    assert (passkey["name"], passkey["kind"]) == ("Telephone <b>", "passkey")
    await button(tab, "Add a passkey").click()
    await expect(tab.locator("#failure")).to_contain_text("added already")

    await log_out_and_in(tab)
    await tab.get_by_role("link", name="Security").click()
    await expect(tab.locator("#sessions")).to_contain_text("by passkey")
    await expect(tab.locator("#passkeys li")).to_have_count(1)
    await button(tab, "Remove Telephone <b>").click()
    await expect(tab.locator("#passkeys li")).to_have_count(0)

    await log_out(tab)
    await expect(tab.get_by_role("status")).to_contain_text("No account here has that passkey")
    await expect(tab.locator("#sign-in")).to_be_visible()
    # The browser was informed.
    assert await device.credentials() == []


async def test_person_steps_up_and_finishes_a_login_with_a_passkey(
    site: Site, browser: BrowserContext, ada: Client, clock: Clock, complaints: list[str]
) -> None:
    tab = await site.open(browser)
    agreeing(tab)
    await open_security(tab)
    device = await plug_in(tab, PLATFORM)
    await add(tab, "Telephone")
    await turn_on(tab)
    clock.advance(STALE)
    await button(tab, "Make new recovery codes").click()
    await device.recognise(user=False)
    await show_passkey(tab)
    dialog = tab.get_by_role("dialog")
    await expect(dialog.get_by_role("alert")).to_contain_text("did not recognise you")
    await device.recognise(user=True)
    await show_passkey(tab)
    await expect(tab.locator("#codes-title")).to_be_focused()

    await device.touch(at_once=False)
    await log_out(tab)
    await fill_sign_in(tab)
    await expect(dialog).to_be_visible()
    await show_passkey(tab)
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(dialog).to_have_count(0)
    await fill_sign_in(tab)
    await device.touch(at_once=True)
    await show_passkey(tab)
    await expect(tab.locator("#username")).to_have_text("ada")


async def test_security_key_is_a_second_factor_and_no_more(
    site: Site, browser: BrowserContext, ada: Client, complaints: list[str]
) -> None:
    tab = await site.open(browser)
    await open_security(tab)
    await plug_in(tab, U2F)
    await add(tab, "Key", "Add a security key")
    await expect(tab.locator("#passkeys")).to_contain_text("a second factor only")
    await turn_on(tab)
    await log_out(tab)
    await fill_sign_in(tab)
    await show_passkey(tab)
    await expect(tab.locator("#username")).to_have_text("ada")


async def test_copied_passkey_is_refused_in_plain_words(
    site: Site, browser: BrowserContext, ada: Client, complaints: list[str]
) -> None:
    tab = await site.open(browser)
    await open_security(tab)
    device = await plug_in(tab, PLATFORM)
    await add(tab, "Telephone")
    await log_out_and_in(tab)
    [credential] = await device.credentials()
    await device.unplug()
    copy = await plug_in(tab, PLATFORM)
    await copy.store({**credential, "signCount": 0})
    await button(tab, "Log out").click()
    await expect(tab.get_by_role("status")).to_contain_text("That passkey was not accepted.")
    await expect(tab.locator("#sign-in")).to_be_visible()
    events = (await (await ada.as_admin()).get("/admin/events?kind=passkey.cloned")).json["events"]
    assert len(events) == 1
    await copy.touch(at_once=False)
    await fill_sign_in(tab)
    await expect(tab.locator("#username")).to_have_text("ada")


async def test_prompt_that_stays_open_gets_another_challenge(
    site: Site, browser: BrowserContext, ada: Client, complaints: list[str]
) -> None:
    tab = await browser.new_page()
    await tab.clock.install()
    asked = "**/auth/login/passkey/options"
    async with tab.expect_response(asked):
        await tab.goto(f"{site.page}/?api={site.api}")
    await expect(button(tab, "Use a passkey")).to_be_visible()
    async with tab.expect_response(asked):
        await tab.clock.fast_forward(600_000)


@pytest.mark.parametrize("site_settings", [{"public_url": "http://127.0.0.1:8000"}])
async def test_page_shows_no_passkeys_where_the_service_has_none(
    site: Site, browser: BrowserContext, ada: Client, complaints: list[str]
) -> None:
    tab = await site.open(browser)
    await expect(tab.locator("#sign-in")).to_be_visible()
    await open_security(tab)
    await expect(tab.locator("#account")).to_be_visible()
    await expect(tab.locator("#passkeys-section")).to_be_hidden()
    await expect(tab.locator("#identities-section")).to_be_hidden()
    await tab.get_by_role("link", name="Posts").click()
    await button(tab, "Log out").click()
    await expect(tab.locator("#sign-in")).to_be_visible()
    await expect(button(tab, "Use a passkey")).to_be_hidden()
