"""The example page "Security" in a real browser: second factor, sessions, API keys."""

from base64 import b32decode
from datetime import datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, expect

from service.testing.application import working
from service.testing.client import PASSWORD
from service.testing.clock import Clock
from service.testing.mails import token
from tests.support.client import Client
from tests.support.pages import (
    EMAIL,
    STALE,
    Site,
    agreeing,
    button,
    fill_sign_in,
    open_security,
    prove,
)
from tests.support.second_factor import Authenticator, turn_on
from tests.support.smtp import SmtpServer

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

STEP = 30.0  # seconds, after which an authenticator app shows another code


@pytest.fixture
def site_settings(smtp: SmtpServer) -> dict[str, object]:
    return {"smtp_url": smtp.url}


async def set_up(tab: Page, name: str = "Set up an authenticator app") -> Authenticator:
    """Begin the set-up of an authenticator app, and type the secret that is shown into one."""
    await button(tab, name).click()
    await expect(tab.locator("#code")).to_be_focused()
    shown = await tab.locator("#secret").text_content()
    assert shown
    return Authenticator(b32decode(shown.replace(" ", "")))


async def confirm(tab: Page, authenticator: Authenticator) -> list[str]:
    """Confirm the set-up; returns the recovery codes that are shown."""
    await tab.fill("#code", authenticator.code())
    await button(tab, "Confirm").click()
    await expect(tab.locator("#codes-title")).to_be_focused()
    return (await tab.locator("#code-list").inner_text()).split()


async def verify_by_mail(site: Site, browser: BrowserContext, mail: EmailMessage) -> None:
    page = await browser.new_page()
    await page.goto(f"{site.api}/verify-email?token={token(mail)}")
    await page.get_by_role("button").click()
    await expect(page.locator("body")).to_contain_text("confirmed")
    await page.close()


async def everything_kept(tab: Page) -> str:
    stores = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
    return str(await tab.evaluate(stores)) + await tab.content()


async def test_person_sets_up_a_second_factor_and_logs_in_with_its_code(
    site: Site, browser: BrowserContext, smtp: SmtpServer, clock: Clock, complaints: list[str]
) -> None:
    await browser.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.page)
    tab = await site.open(browser)
    await fill_sign_in(tab, "Register")
    async with working(site.client.app.settings):
        [mail] = await smtp.wait_for(1)
    await verify_by_mail(site, browser, mail)
    await tab.get_by_role("link", name="Security").click()

    authenticator = await set_up(tab)
    picture = "document.getElementById('qr').decode().then(() => true)"
    assert await tab.evaluate(picture)
    await tab.fill("#code", authenticator.wrong_code())
    await button(tab, "Confirm").click()
    await expect(tab.locator("#code-failure")).to_contain_text("not the code")
    await expect(tab.locator("#code")).to_be_focused()
    codes = await confirm(tab, authenticator)
    assert len(set(codes)) == 10
    await button(tab, "Copy the codes").click()
    await expect(tab.get_by_role("status")).to_have_text("Copied.")
    assert (await tab.evaluate("navigator.clipboard.readText()")).split() == codes
    async with tab.expect_download() as saving:
        await button(tab, "Save as a file").click()
    saved = await saving.value
    assert saved.suggested_filename == "recovery-codes.txt"
    assert Path(await saved.path()).read_text().split() == codes
    await expect(tab.locator("#factor-state")).to_contain_text("Recovery codes left: 10.")
    await button(tab, "I have kept them").click()
    kept = await everything_kept(tab)
    assert not [code for code in codes if code in kept]
    assert (await tab.locator("#secret").text_content()) == ""

    await tab.get_by_role("link", name="Posts").click()
    await button(tab, "Log out").click()
    clock.advance(STEP)
    await fill_sign_in(tab)
    dialog = await prove(tab, "Authenticator app", authenticator.wrong_code())
    await expect(dialog.get_by_role("alert")).to_contain_text("wrong, or was used before")
    await expect(tab.locator("#account")).to_be_hidden()
    code = authenticator.code()
    await prove(tab, "Authenticator app", f"{code[:3]} {code[3:]}")
    await expect(tab.locator("#username")).to_have_text("ada")
    await expect(dialog).to_have_count(0)


async def test_person_logs_in_with_a_recovery_code_once(
    site: Site, browser: BrowserContext, ada: Client, complaints: list[str]
) -> None:
    authenticator = await turn_on(ada)
    code = authenticator.recovery_codes[0]
    tab = await site.open(browser)
    await fill_sign_in(tab)
    await prove(tab, "Recovery code", code.lower())
    await expect(tab.locator("#username")).to_have_text("ada")
    await expect(tab.get_by_role("status")).to_contain_text("9 are left")
    await button(tab, "Log out").click()
    await fill_sign_in(tab)
    dialog = await prove(tab, "Recovery code", code)
    await expect(dialog.get_by_role("alert")).to_contain_text("none of your unused recovery codes")
    await tab.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(tab.locator("#account")).to_be_hidden()


async def test_login_that_waits_too_long_for_its_code_begins_anew(
    site: Site, browser: BrowserContext, ada: Client, clock: Clock, complaints: list[str]
) -> None:
    authenticator = await turn_on(ada)
    tab = await site.open(browser)
    await fill_sign_in(tab)
    await expect(tab.get_by_role("dialog")).to_be_visible()
    clock.advance(301)
    dialog = await prove(tab, "Authenticator app", authenticator.code())
    await expect(dialog).to_have_count(0)
    await expect(tab.get_by_role("status")).to_contain_text("has expired")
    await fill_sign_in(tab)
    await prove(tab, "Authenticator app", authenticator.code())
    await expect(tab.locator("#username")).to_have_text("ada")


async def test_change_of_the_second_factor_asks_for_a_code_after_a_while(
    site: Site, browser: BrowserContext, ada: Client, clock: Clock, complaints: list[str]
) -> None:
    tab = await site.open(browser)
    agreeing(tab)
    await open_security(tab)
    authenticator = await set_up(tab)
    old = await confirm(tab, authenticator)
    await button(tab, "I have kept them").click()

    clock.advance(STALE)
    await button(tab, "Make new recovery codes").click()
    await expect(tab.locator("#proof-value")).to_be_focused()
    dialog = await prove(tab, "Authenticator app", authenticator.wrong_code())
    await expect(dialog.get_by_role("alert")).to_contain_text("wrong, or was used before")
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(tab.locator("#codes")).to_be_hidden()
    await expect(button(tab, "Make new recovery codes")).to_be_focused()

    await button(tab, "Make new recovery codes").click()
    await prove(tab, "Authenticator app", authenticator.code())
    await expect(tab.locator("#codes-title")).to_be_focused()
    new = (await tab.locator("#code-list").inner_text()).split()
    assert len(new) == 10
    assert not set(new) & set(old)
    # Fresh now, so that the next change asks for nothing.
    await button(tab, "Turn off").click()
    await expect(tab.locator("#factor-state")).to_contain_text("Off.")
    await expect(tab.locator("#codes")).to_be_hidden()


async def test_replaced_authenticator_app_leaves_the_recovery_codes(
    site: Site, browser: BrowserContext, ada: Client, clock: Clock, complaints: list[str]
) -> None:
    tab = await site.open(browser)
    await open_security(tab)
    await confirm(tab, await set_up(tab))
    await button(tab, "I have kept them").click()
    replacement = await set_up(tab, "Replace the authenticator app")
    await tab.fill("#code", replacement.code())
    await tab.keyboard.press("Enter")
    await expect(tab.locator("#factor-title")).to_be_focused()
    await expect(tab.get_by_role("status")).to_have_text("The authenticator app is set up.")
    await expect(tab.locator("#codes")).to_be_hidden()
    await expect(tab.locator("#factor-state")).to_contain_text("Recovery codes left: 10.")
    clock.advance(STALE)
    agreeing(tab)
    await button(tab, "Turn off").click()
    await prove(tab, "Authenticator app", replacement.code())
    await expect(tab.locator("#factor-state")).to_contain_text("Off.")


async def test_wrong_codes_lock_the_page_s_codes_but_no_recovery_code(
    site: Site, browser: BrowserContext, ada: Client, clock: Clock, complaints: list[str]
) -> None:
    tab = await site.open(browser)
    agreeing(tab)
    await open_security(tab)
    authenticator = await set_up(tab)
    codes = await confirm(tab, authenticator)
    clock.advance(STALE)
    await button(tab, "Turn off").click()
    for _ in range(5):
        async with tab.expect_response("**/auth/step-up"):
            dialog = await prove(tab, "Authenticator app", authenticator.wrong_code())
        await expect(dialog.get_by_role("alert")).not_to_be_empty()
    await prove(tab, "Authenticator app", authenticator.code())
    await expect(dialog.get_by_role("alert")).to_contain_text("Too many wrong codes")
    await expect(dialog.get_by_role("alert")).to_contain_text("Try again in ")
    await prove(tab, "Recovery code", codes[0])
    await expect(tab.locator("#factor-state")).to_contain_text("Off.")


async def test_person_makes_uses_and_revokes_an_api_key(
    site: Site, browser: BrowserContext, ada: Client, clock: Clock, complaints: list[str]
) -> None:
    tab = await site.open(browser)
    agreeing(tab)
    await open_security(tab)
    clock.advance(STALE)
    await tab.get_by_label("Name").fill("backup <b>")
    await button(tab, "Make the key").click()
    await expect(tab.get_by_role("alert")).to_have_text("Choose what the key may do.")
    await tab.get_by_label("read your account").check()
    last_day = clock.now().date() + timedelta(days=30)
    await tab.get_by_label("Last day").fill(last_day.isoformat())
    await button(tab, "Make the key").click()
    dialog = await prove(tab, "Password", "not the password")
    await expect(dialog.get_by_role("alert")).to_have_text("That password is wrong.")
    await prove(tab, "Password", PASSWORD)
    await expect(tab.locator("#made-title")).to_be_focused()
    key = await tab.locator("#key").text_content()
    assert key
    program = Client(site.client.app, key)
    assert (await program.get("/auth/me")).status == 200
    await button(tab, "I have kept it").click()
    assert key not in await everything_kept(tab)
    row = tab.get_by_role("row", name="backup <b>")
    await expect(row).to_contain_text("account:read")
    await expect(row).to_contain_text(key[-4:])
    [listed] = (await ada.get("/auth/keys")).json["keys"]
    # The end of that day, where the browser is.
    assert abs(datetime.fromisoformat(listed["expires_at"]).date() - last_day) <= timedelta(days=1)
    await row.get_by_role("button").click()
    await expect(tab.get_by_role("status")).to_have_text("backup <b> is revoked.")
    await expect(row).to_have_count(0)
    assert (await program.get("/auth/me")).status == 401


async def test_person_ends_another_session_and_then_all_others(
    site: Site, browser: BrowserContext, ada: Client, complaints: list[str]
) -> None:
    tab = await site.open(browser)
    await open_security(tab)
    items = tab.locator("#sessions li")
    await expect(items).to_have_count(2)
    await expect(items.filter(has_text="(this one)")).to_have_count(1)
    await items.get_by_role("button").click()
    await expect(tab.get_by_role("status")).to_have_text("The session has ended.")
    assert (await ada.get("/auth/me")).status == 401
    others = [await ada.as_user(EMAIL) for _ in range(2)]
    await tab.reload()
    await expect(items).to_have_count(3)
    await button(tab, "End all others").click()
    await expect(tab.get_by_role("status")).to_have_text("2 sessions have ended.")
    await expect(items).to_have_count(1)
    assert [(await other.get("/auth/me")).status for other in others] == [401, 401]
    await expect(button(tab, "End all others")).to_be_hidden()


async def test_page_of_a_session_that_was_ended_elsewhere_says_so(
    site: Site, browser: BrowserContext, ada: Client, complaints: list[str]
) -> None:
    tab = await site.open(browser)
    await open_security(tab)
    await set_up(tab)
    assert (await ada.delete("/auth/sessions")).status == 204
    await tab.fill("#code", "000000")
    await button(tab, "Confirm").click()
    await expect(tab.locator("#failure")).to_have_text("Your login has ended.")
    await expect(tab.locator("#account")).to_be_hidden()
    assert await tab.locator("#secret").text_content() == ""
    await tab.get_by_role("link", name="Log in").click()
    await expect(tab.locator("#sign-in")).to_be_visible()


async def test_person_with_an_unverified_address_is_asked_to_verify_it(
    site: Site, browser: BrowserContext, complaints: list[str]
) -> None:
    await site.client.register(EMAIL, username="ada")
    tab = await site.open(browser)
    await open_security(tab)
    await button(tab, "Set up an authenticator app").click()
    await expect(tab.get_by_role("alert").first).to_contain_text("Verify your email address first")
    await expect(tab.locator("#setup")).to_be_hidden()


async def test_page_that_is_left_keeps_no_secret_for_the_way_back(
    site: Site, browser: BrowserContext, ada: Client, complaints: list[str]
) -> None:
    tab = await site.open(browser)
    await open_security(tab)
    await set_up(tab)
    # What a browser does that keeps the page for the button "Back"; a driven one keeps none.
    await tab.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    await expect(tab.locator("#setup")).to_be_hidden()
    assert await tab.locator("#secret").text_content() == ""
    assert await tab.locator("#qr").get_attribute("src") is None
    async with tab.expect_response("**/auth/security"):
        await tab.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    await expect(tab.locator("#factor-state")).to_contain_text("Off.")


async def test_every_control_of_the_page_has_a_name(
    site: Site, browser: BrowserContext, ada: Client, complaints: list[str]
) -> None:
    tab = await site.open(browser)
    await open_security(tab)
    await set_up(tab)
    nameless: Any = await tab.evaluate(
        """() => [...document.querySelectorAll("button, input, a, img")]
            .filter((found) => found.checkVisibility())
            .filter((found) => !(found.labels?.length || found.textContent.trim()
                || found.getAttribute("aria-label") || found.alt))
            .map((found) => found.outerHTML)"""
    )
    assert nameless == []
