"""The operators' console in a real browser: who gets in, how, and what all others see."""

from urllib.parse import urlsplit

import pytest
from playwright.async_api import BrowserContext, Page, expect

from service.testing.clock import Clock
from tests.support.authenticator import SoftwareAuthenticator
from tests.support.console import (
    OPERATOR,
    Console,
    button,
    failure,
    heading,
    keep_passkey,
    message,
    prove,
    sign_in,
)
from tests.support.external import begin, obtain_code
from tests.support.passkeys import add_passkey
from tests.support.provider import Provider
from tests.support.second_factor import turn_on, verify_email

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

# What a page for people's own accounts does.
TURN_ON = """() => fetch("/auth/second-factor", {
    method: "PUT", headers: {"X-CSRF-Token": document.cookie.match(/csrf_token=([^;]*)/)[1]},
}).then((response) => response.status)"""


@pytest.fixture
def site_settings(provider: Provider) -> dict[str, object]:
    return {"external_providers": {"acme": provider.settings(title="Acme & Co")}}


def asked_for_operators(tab: Page) -> list[str]:
    """The paths below /admin that the tab asks for, from now on."""
    paths: list[str] = []

    def note(url: str) -> None:
        path = urlsplit(url).path
        if path.startswith("/admin"):
            paths.append(path)

    tab.on("request", lambda request: note(request.url))
    return paths


async def test_operator_signs_in_to_the_view_of_the_address_and_out(
    console: Console, browser: BrowserContext, complaints: list[str]
) -> None:
    await console.operator()
    tab = await console.open(browser, "#/users?q=ada")
    await expect(heading(tab, "Sign in")).to_be_focused()
    await expect(tab).to_have_title("Sign in – Console")
    await expect(tab.get_by_role("navigation")).to_be_hidden()
    await sign_in(tab, password="not the password")
    await expect(failure(tab)).to_have_text("Invalid credentials.")
    await sign_in(tab)
    await expect(heading(tab, "Users")).to_be_focused()
    await expect(tab).to_have_title("Users – Console")
    await expect(tab.get_by_role("link", name="Users", exact=True)).to_have_attribute(
        "aria-current", "page"
    )
    await expect(tab.get_by_role("row", name=OPERATOR)).to_be_visible()
    await button(tab, "Sign out").click()
    await expect(message(tab)).to_have_text("You are signed out.")
    await tab.reload()
    await expect(heading(tab, "Sign in")).to_be_visible()


async def test_operator_with_a_second_factor_shows_a_code_or_a_recovery_code(
    console: Console, browser: BrowserContext, complaints: list[str]
) -> None:
    authenticator = await turn_on(await console.operator())
    tab = await console.open(browser)
    await sign_in(tab)
    dialog = await prove(tab, "Authenticator app", authenticator.wrong_code())
    await expect(dialog.get_by_role("alert")).to_contain_text("wrong, or was used before")
    await prove(tab, "Authenticator app", authenticator.code())
    await expect(heading(tab, "State")).to_be_focused()
    await button(tab, "Sign out").click()
    await sign_in(tab)
    await expect(dialog).to_be_visible()
    await tab.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(button(tab, "Sign in")).to_be_focused()
    await sign_in(tab)
    await prove(tab, "Recovery code", authenticator.recovery_codes[0])
    await expect(heading(tab, "State")).to_be_focused()


async def test_operator_signs_in_with_a_passkey_alone_and_after_the_password(
    console: Console, browser: BrowserContext, complaints: list[str]
) -> None:
    ada = await console.operator()
    passkeys = SoftwareAuthenticator(origin=console.url, algorithm="ES256")
    await add_passkey(ada, passkeys)
    tab = await console.open(browser)
    await keep_passkey(tab, passkeys.credentials[0])
    await button(tab, "Sign in with a passkey").click()
    await expect(heading(tab, "State")).to_be_focused()
    await button(tab, "Sign out").click()
    assert (await ada.put("/auth/second-factor")).status == 200
    await sign_in(tab)
    await prove(tab, "Passkey or security key")
    await expect(heading(tab, "State")).to_be_focused()


async def test_operator_signs_in_through_a_provider_and_comes_back_to_the_view(
    console: Console,
    browser: BrowserContext,
    provider: Provider,
    at_provider: None,
    complaints: list[str],
) -> None:
    ada = await console.operator()
    await verify_email(ada)
    flow = await begin(ada, return_to=f"{console.url}/console")
    code = await obtain_code(ada, provider, flow, sub="ada-1")
    proof = {"code": code, "code_verifier": flow.verifier}
    assert (await ada.post("/auth/identities", proof)).status == 201
    tab = await console.open(browser, "#/events?kind=login.failed")
    await button(tab, "Continue with Acme & Co").click()
    await tab.get_by_role("link", name="Refuse").click()
    await expect(failure(tab)).to_contain_text("You did not agree at Acme & Co")
    await button(tab, "Continue with Acme & Co").click()
    await tab.get_by_role("link", name="Agree").click()
    await expect(heading(tab, "Events")).to_be_focused()
    assert tab.url == f"{console.url}/console#/events?kind=login.failed"
    assert await tab.evaluate("sessionStorage.length") == 0
    # A link of somebody else's, with a code that this tab did not ask for.
    await tab.goto(f"{console.url}/console?code=theirs")
    await expect(failure(tab)).to_contain_text("was not begun in this tab")


async def test_account_that_is_no_operator_s_is_turned_away_kindly_and_asks_for_nothing_more(
    console: Console, browser: BrowserContext, complaints: list[str]
) -> None:
    await console.client.sign_up("bob@example.com", username="bob")
    tab = await console.open(browser, "#/users")
    await sign_in(tab, "bob@example.com")
    await expect(heading(tab, "Not for this account")).to_be_focused()
    await expect(tab.get_by_role("main")).to_contain_text("This account is no operator's")
    await expect(tab.get_by_role("navigation")).to_be_hidden()
    asked = asked_for_operators(tab)
    await tab.evaluate("location.hash = '#/events'")
    await expect(heading(tab, "Not for this account")).to_be_visible()
    await button(tab, "Sign out").click()
    await expect(message(tab)).to_have_text("You are signed out.")
    assert asked == []


async def test_operator_who_loses_the_rights_meanwhile_is_turned_away(
    console: Console, browser: BrowserContext, complaints: list[str]
) -> None:
    await console.operator()
    other = await console.client.as_admin("grace@example.com")
    tab = await console.enter(browser, "#/users")
    [ada] = (await other.get("/admin/users?q=ada")).json["users"]
    assert (await other.patch(f"/admin/users/{ada['id']}", {"is_admin": False})).status == 200
    await tab.get_by_role("link", name="Events").click()
    await expect(heading(tab, "Not for this account")).to_be_focused()
    assert (await other.patch(f"/admin/users/{ada['id']}", {"is_active": False})).status == 200
    await tab.reload()
    await expect(tab.get_by_role("main")).to_contain_text("was disabled by an operator")
    await button(tab, "Sign out").click()
    await expect(message(tab)).to_contain_text("which the service did not end. Clear this site's")
    await sign_in(tab)
    await expect(failure(tab)).to_have_text("Account disabled.")


async def test_console_refreshes_once_and_keeps_the_place_when_the_session_has_ended(
    console: Console, browser: BrowserContext, clock: Clock, complaints: list[str]
) -> None:
    ada = await console.operator()
    tab = await console.enter(browser, f"#/users/{ada.user['id']}")
    await expect(tab.get_by_role("row", name="signed in").first).to_be_visible()
    refreshed: list[str] = []
    tab.on("request", lambda sent: refreshed.append(sent.url) if "refresh" in sent.url else None)
    clock.advance(3601)
    await tab.reload()
    await expect(heading(tab, "ada")).to_be_visible()
    await expect(tab.get_by_role("row", name="signed in").first).to_be_visible()
    assert len(refreshed) == 1
    assert (await ada.login(OPERATOR)).status == 200
    assert (await ada.delete("/auth/sessions")).status == 204
    await tab.get_by_role("link", name="Users", exact=True).click()
    await expect(heading(tab, "Sign in")).to_be_focused()
    await expect(failure(tab)).to_contain_text("Your sign-in has ended.")
    await sign_in(tab)
    await expect(heading(tab, "Users")).to_be_focused()
    assert tab.url == f"{console.url}/console#/users"


async def test_refresh_that_is_refused_for_now_ends_no_login(
    console: Console, browser: BrowserContext, clock: Clock, complaints: list[str]
) -> None:
    await console.operator()
    tab = await console.enter(browser, "#/users")
    clock.advance(3601)
    body = '{"error": "Service Unavailable", "message": "Busy", "code": 503}'
    refusal = {"status": 503, "headers": {"Retry-After": "2"}, "body": body}
    await tab.route("**/auth/refresh", lambda route: route.fulfill(**refusal))
    await tab.get_by_role("link", name="Jobs").click()
    await expect(failure(tab)).to_have_text("Busy. Try again in 2 seconds.")
    await tab.unroute("**/auth/refresh")
    await button(tab, "Show").click()
    await expect(tab.get_by_text("There is no job.")).to_be_visible()
    await expect(failure(tab)).to_be_empty()


async def test_deed_of_a_session_that_has_ended_is_not_done_and_all_tabs_see_the_end(
    console: Console, browser: BrowserContext, complaints: list[str]
) -> None:
    ada = await console.operator()
    tab = await console.enter(browser, f"#/users/{ada.user['id']}")
    other = await console.open(browser, "#/users")
    await expect(heading(other, "Users")).to_be_visible()
    await button(tab, "Grant operator rights").or_(button(tab, "End the sessions")).first.wait_for()
    assert (await ada.delete("/auth/sessions")).status == 204
    await button(tab, "Revoke the API keys").click()
    await button(tab.get_by_role("dialog"), "Revoke the API keys").click()
    await expect(failure(tab)).to_contain_text("Your sign-in has ended, and nothing was done.")
    await sign_in(tab)
    await expect(heading(tab, "ada")).to_be_visible()
    await button(tab, "Sign out").click()
    await expect(heading(other, "Sign in")).to_be_visible()
    await expect(other.get_by_role("row")).to_have_count(0)
    await sign_in(other)
    await expect(heading(tab, "ada")).to_be_visible()


async def test_service_that_does_not_answer_is_asked_again(
    console: Console, browser: BrowserContext, complaints: list[str]
) -> None:
    await console.operator()
    tab = await console.enter(browser)
    await tab.route("**/auth/me", lambda route: route.abort())
    await tab.reload()
    await expect(heading(tab, "The console cannot be opened")).to_be_focused()
    await expect(tab.get_by_role("main")).to_contain_text("The service does not answer.")
    await tab.unroute("**/auth/me")
    await button(tab, "Try again").click()
    await expect(heading(tab, "State")).to_be_focused()


class TestSecondFactorRequired:
    """Where SECOND_FACTOR_REQUIRED=admins."""

    @pytest.fixture
    def site_settings(self) -> dict[str, object]:
        return {"second_factor_required": "admins"}

    async def test_operator_without_a_second_factor_reads_what_to_do(
        self, console: Console, browser: BrowserContext, complaints: list[str]
    ) -> None:
        ada = await console.operator()
        tab = await console.open(browser)
        await sign_in(tab)
        await expect(heading(tab, "A second factor is needed")).to_be_focused()
        await expect(tab.get_by_role("main")).to_contain_text("Your account has none yet.")
        await expect(button(tab, "Confirm with the second factor")).to_be_hidden()
        passkeys = SoftwareAuthenticator(origin=console.url, algorithm="ES256")
        await add_passkey(ada, passkeys)
        await keep_passkey(tab, passkeys.credentials[0])
        assert await tab.evaluate(TURN_ON) == 200
        await tab.reload()
        await button(tab, "Confirm with the second factor").click()
        await prove(tab, "Passkey or security key")
        await expect(heading(tab, "State")).to_be_focused()
        await button(tab, "Sign out").click()
        await sign_in(tab)
        await prove(tab, "Passkey or security key")
        await expect(heading(tab, "State")).to_be_focused()
