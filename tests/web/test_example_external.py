"""The example page's sign-in through an external provider, in a real browser."""

from urllib.parse import urlencode

import pytest
from playwright.async_api import BrowserContext, Page, expect

from tests.support.client import Client
from tests.support.external import begin, obtain_code
from tests.support.pages import EMAIL, Site, agreeing, button, fill_sign_in, open_security, prove
from tests.support.provider import Provider, raw
from tests.support.second_factor import turn_on

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]


@pytest.fixture
def site_settings(provider: Provider) -> dict[str, object]:
    return {"external_providers": {"acme": provider.settings(title="Acme & Co")}}


async def go_through(
    tab: Page, action: str = "Continue with Acme & Co", link: str = "Agree"
) -> None:
    """Go to the provider and come back."""
    await button(tab, action).click()
    await tab.get_by_role("link", name=link).click()


async def log_out(tab: Page) -> None:
    await tab.get_by_role("link", name="Posts").click()
    await button(tab, "Log out").click()


async def kept(tab: Page) -> str:
    """What the tab keeps, and its address."""
    return str(await tab.evaluate("JSON.stringify(sessionStorage) + location.search"))


async def test_person_who_is_new_gets_an_account_and_keeps_the_way_to_it(
    site: Site, browser: BrowserContext, at_provider: None, complaints: list[str]
) -> None:
    tab = await site.open(browser)
    agreeing(tab)
    await go_through(tab)
    await expect(tab.get_by_role("status")).to_contain_text("your name here is ada")
    await expect(tab.locator("#username")).to_have_text("ada")
    assert await kept(tab) == "{}?" + urlencode({"api": site.api})

    await tab.get_by_role("link", name="Security").click()
    await expect(tab.locator("#factor-state")).to_have_text("Off. You have no password.")
    await expect(tab.locator("#identities li")).to_contain_text(f"Acme & Co: {EMAIL}")
    await button(tab, f"Unlink {EMAIL} at Acme & Co").click()
    await expect(tab.locator("#failure")).to_contain_text("Nothing else logs you in")
    await log_out(tab)
    await go_through(tab)
    await expect(tab.locator("#username")).to_have_text("ada")
    await expect(tab.get_by_role("status")).to_be_hidden()


async def test_person_links_an_account_that_there_is_and_unlinks_it(
    site: Site, browser: BrowserContext, at_provider: None, ada: Client, complaints: list[str]
) -> None:
    tab = await site.open(browser)
    agreeing(tab)
    await go_through(tab)
    await expect(tab.get_by_role("status")).to_contain_text("Log in to it as ever, then link Acme")
    await expect(tab.locator("#sign-in")).to_be_visible()
    await open_security(tab)
    await go_through(tab, "Link Acme & Co")
    await expect(tab.get_by_role("status")).to_have_text("Acme & Co is linked.")
    await go_through(tab, "Link Acme & Co")
    await expect(tab.get_by_role("status")).to_have_text("Acme & Co was linked already.")
    assert await kept(tab) == "{}?" + urlencode({"api": site.api})

    authenticator = await turn_on(ada)
    await tab.goto(f"{site.page}/?api={site.api}")
    await go_through(tab)
    await prove(tab, "Authenticator app", authenticator.code(1))
    await expect(tab.locator("#username")).to_have_text("ada")
    await tab.get_by_role("link", name="Security").click()
    await expect(tab.locator("#sessions")).to_contain_text("by acme and authenticator app")
    await button(tab, f"Unlink {EMAIL} at Acme & Co").click()
    await expect(tab.get_by_role("status")).to_have_text("Acme & Co is unlinked.")
    await expect(tab.locator("#no-identities")).to_be_visible()


async def test_person_who_does_not_agree_is_as_before(
    site: Site, browser: BrowserContext, at_provider: None, complaints: list[str]
) -> None:
    tab = await site.open(browser)
    await go_through(tab, link="Refuse")
    await expect(tab.get_by_role("status")).to_contain_text("You did not agree at Acme & Co")
    await expect(tab.locator("#sign-in")).to_be_visible()
    assert await kept(tab) == "{}?" + urlencode({"api": site.api})


async def test_code_is_sent_again_while_the_provider_is_away(
    site: Site,
    browser: BrowserContext,
    provider: Provider,
    at_provider: None,
    complaints: list[str],
) -> None:
    tab = await site.open(browser)
    provider.hooks["/token"] = raw(b"", 503)
    await go_through(tab)
    await expect(tab.get_by_role("status")).to_contain_text("Acme & Co does not answer.")
    del provider.hooks["/token"]
    await button(tab, "Try again").click()
    await expect(tab.locator("#username")).to_have_text("ada")


async def test_code_of_somebody_else_s_sign_in_ends_in_plain_words(
    site: Site,
    browser: BrowserContext,
    provider: Provider,
    at_provider: None,
    ada: Client,
    complaints: list[str],
) -> None:
    async def foreign(page: str) -> str:
        """A link that an attacker sends, with a code for the attacker's own account."""
        flow = await begin(site.client, return_to=f"{site.page}/{page}")
        code = await obtain_code(site.client, provider, flow, sub="mallory")
        return f"{flow.return_to}?{urlencode({'api': site.api, 'code': code})}"

    tab = await site.open(browser)
    await tab.goto(await foreign(""))
    await expect(tab.get_by_role("status")).to_contain_text("was not begun in this tab")
    await expect(tab.locator("#sign-in")).to_be_visible()
    # In a tab that has begun one of its own.
    await button(tab, "Continue with Acme & Co").click()
    await expect(tab.get_by_role("link", name="Agree")).to_be_visible()
    async with tab.expect_response("**/auth/login/external") as answered:
        await tab.goto(await foreign(""))
    assert (await answered.value).status == 400
    await expect(tab.get_by_role("status")).to_contain_text("invalid, has been used")
    assert await kept(tab) == "{}?" + urlencode({"api": site.api})

    await fill_sign_in(tab)
    await expect(tab.locator("#username")).to_have_text("ada")
    await tab.goto(await foreign("security.html"))
    await expect(tab.locator("#failure")).to_contain_text("was not begun in this tab")
    await expect(tab.locator("#no-identities")).to_be_visible()
    assert (await ada.get("/auth/identities")).json["identities"] == []
