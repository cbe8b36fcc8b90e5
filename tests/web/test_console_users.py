"""The operators' console in a real browser: accounts are found, and what is done to them."""

import asyncpg
import pytest
from playwright.async_api import BrowserContext, Route, expect

from service.ids import parse_id
from service.testing.clock import Clock
from tests.support.client import Client
from tests.support.console import Console, button, do, failure, heading, message, prove, sign_in
from tests.support.protection import make_key
from tests.support.second_factor import turn_on, verify_email

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

STALE = 901.0  # seconds, more than STEP_UP_MAX_AGE
EVENTS = "SELECT kind FROM security_events WHERE user_id = $1 AND actor_id = $2 ORDER BY id"


async def person(console: Console, name: str = "bob") -> Client:
    client = await console.client.sign_up(f"{name}@example.com", username=name)
    await verify_email(client)
    return client


async def deeds(db: asyncpg.Connection, actor: Client, owner: Client) -> list[str]:
    """The kinds of the events that have an account, and another one as their actor."""
    rows = await db.fetch(EVENTS, parse_id(owner.user["id"]), parse_id(actor.user["id"]))
    return [row["kind"] for row in rows]


async def test_accounts_are_found_by_words_and_by_their_second_factor_and_read_on(
    console: Console, browser: BrowserContext, db: asyncpg.Connection, complaints: list[str]
) -> None:
    await console.operator()
    await turn_on(await person(console, "grace"))
    await db.execute(
        "INSERT INTO users "
        "(id, email, email_key, username, username_key, password_hash, created_at) "
        "SELECT gen_random_uuid(), n || '@x.example', n || '@x.example', 'x' || n, 'x' || n, '', "
        "'2026-01-01'::timestamptz + n * interval '1 s' FROM generate_series(1, 24) AS n"
    )
    tab = await console.enter(browser, "#/users")
    table = tab.get_by_role("table", name="Users, the newest first")
    await expect(table.get_by_role("rowheader")).to_have_count(20)
    await button(tab, "More").click()
    await expect(table.get_by_role("rowheader")).to_have_count(26)
    await expect(button(tab, "More")).to_be_hidden()
    await expect(tab.get_by_role("status").filter(has_text="26 users shown.")).to_be_visible()
    await expect(table.get_by_role("link", name="x6", exact=True)).to_be_focused()

    await tab.get_by_label("Part of the email or username").fill("GRACE@")
    await tab.get_by_label("Second factor").select_option("on")
    await button(tab, "Show").click()
    await expect(table.get_by_role("rowheader")).to_have_text(["grace"])
    await expect(table.get_by_role("row", name="grace")).to_contain_text("second factor")
    await tab.get_by_label("Second factor").select_option("off")
    await button(tab, "Show").click()
    await expect(tab.get_by_role("status").filter(has_text="There is no user.")).to_be_visible()
    await tab.go_back()
    await table.get_by_role("link", name="grace").click()
    await expect(heading(tab, "grace")).to_be_focused()
    await expect(tab).to_have_title("grace – Users – Console")
    await tab.go_back()
    await expect(tab.get_by_label("Part of the email or username")).to_have_value("GRACE@")
    await expect(table.get_by_role("rowheader")).to_have_text(["grace"])


async def test_operator_does_all_there_is_to_an_account_and_each_is_recorded(
    console: Console, browser: BrowserContext, db: asyncpg.Connection, complaints: list[str]
) -> None:
    ada = await console.operator()
    bob = await person(console)
    key = await make_key(bob, "account:read")
    await turn_on(bob)
    tab = await console.enter(browser, f"#/users/{bob.user['id']}")
    await do(tab, "Disable the account", "Disable the account", "bob is disabled.")
    await expect(tab.get_by_role("definition").filter(has_text="disabled")).to_be_visible()
    assert (await bob.get("/auth/me")).status == 403
    await expect(button(tab, "Enable the account")).to_be_focused()
    await do(tab, "Enable the account", "Enable the account", "bob is enabled.")
    await do(tab, "Grant operator rights", "Grant operator rights", "bob is an operator.")
    await expect(tab.get_by_role("definition").filter(has_text="operator")).to_be_visible()
    await do(
        tab, "Revoke operator rights", "Revoke operator rights", "bob is an operator no longer."
    )
    await do(tab, "Revoke the API keys", "Revoke the API keys", "bob has no API keys any more.")
    assert (await Client(bob.app, key).get("/auth/me")).status == 401
    assert (await bob.get("/auth/me")).status == 200
    await do(tab, "End the sessions", "End the sessions", "bob is signed out everywhere.")
    assert (await bob.get("/auth/me")).status == 401
    await do(
        tab,
        "Reset the second factor",
        "Reset the second factor",
        "bob has no second factor and no passkeys any more. "
        "If there were any, the sessions have ended, too.",
    )
    assert (await bob.login("bob@example.com")).status == 200
    shown = tab.get_by_role("table", name="Events of this account, the newest first")
    row = shown.get_by_role("row", name="second factor reset by an operator")
    await expect(row.get_by_role("link", name="ada")).to_be_visible()
    assert await deeds(db, ada, bob) == [
        "account.disabled", "account.enabled", "admin.granted", "admin.revoked", "key.revoked",
        "session.ended", "second_factor.reset",
    ]  # fmt: skip


async def test_deed_that_found_nothing_to_take_away_claims_no_more_than_it_did(
    console: Console, browser: BrowserContext, complaints: list[str]
) -> None:
    await console.operator()
    bob = await person(console)
    tab = await console.enter(browser, f"#/users/{bob.user['id']}")
    await button(tab, "Reset the second factor").click()
    dialog = tab.get_by_role("dialog")
    await expect(dialog).to_contain_text("An account that has none of these stays signed in")
    await button(dialog, "Reset the second factor").click()
    await expect(message(tab)).to_contain_text("If there were any, the sessions have ended, too.")
    assert (await bob.get("/auth/me")).status == 200


async def test_deed_that_is_not_agreed_to_is_not_done_and_the_keyboard_is_enough(
    console: Console, browser: BrowserContext, complaints: list[str]
) -> None:
    await console.operator()
    bob = await person(console)
    tab = await console.enter(browser, "#/users?q=bob")
    await expect(tab.get_by_role("link", name="bob", exact=True)).to_be_visible()

    async def walk_to(role: str, name: str) -> None:
        """Press Tab until something has the focus."""
        target = tab.get_by_role(role, name=name, exact=True)  # type: ignore[arg-type]
        for _ in range(30):
            if await target.evaluate("(found) => found === document.activeElement"):
                return
            await tab.keyboard.press("Tab")
        raise AssertionError(f"no Tab leads to {name}")

    await walk_to("link", "bob")
    await tab.keyboard.press("Enter")
    await expect(heading(tab, "bob")).to_be_focused()
    await walk_to("button", "Disable the account")
    await tab.keyboard.press("Enter")
    dialog = tab.get_by_role("dialog", name="Disable bob?")
    await expect(button(dialog, "Cancel")).to_be_focused()
    await expect(dialog).to_have_accessible_description(
        "The account is refused with its next request, API keys included, "
        "and cannot sign in until it is enabled again."
    )
    await tab.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(button(tab, "Disable the account")).to_be_focused()
    assert (await bob.get("/auth/me")).status == 200
    await tab.keyboard.press("Enter")
    await expect(button(dialog, "Cancel")).to_be_focused()
    await tab.keyboard.press("Shift+Tab")
    await expect(button(dialog, "Disable the account")).to_be_focused()
    await tab.keyboard.press("Enter")
    await expect(message(tab)).to_have_text("bob is disabled.")
    await expect(button(tab, "Enable the account")).to_be_focused()
    assert (await bob.get("/auth/me")).status == 403


async def test_deed_that_needs_a_fresh_session_asks_for_a_code_and_is_done_then(
    console: Console, browser: BrowserContext, clock: Clock, complaints: list[str]
) -> None:
    authenticator = await turn_on(await console.operator())
    bob = await person(console)
    await turn_on(bob)
    clock.advance(30)
    tab = await console.open(browser, f"#/users/{bob.user['id']}")
    await sign_in(tab)
    await prove(tab, "Recovery code", authenticator.recovery_codes[0])
    await expect(heading(tab, "bob")).to_be_visible()
    clock.advance(STALE)
    await button(tab, "Reset the second factor").click()
    await button(tab.get_by_role("dialog"), "Reset the second factor").click()
    dialog = tab.get_by_role("dialog", name="Confirm that it is you")
    await prove(tab, "Authenticator app", authenticator.wrong_code())
    await expect(dialog.get_by_role("alert")).to_contain_text("wrong, or was used before")
    await button(dialog, "Cancel").click()
    await expect(dialog).to_have_count(0)
    assert (await bob.get("/auth/me")).status == 200
    await button(tab, "Reset the second factor").click()
    await button(tab.get_by_role("dialog"), "Reset the second factor").click()
    await prove(tab, "Authenticator app", authenticator.code())
    await expect(message(tab)).to_contain_text("bob has no second factor")
    assert (await bob.get("/auth/me")).status == 401


async def test_failures_of_deeds_are_in_plain_words(
    console: Console, browser: BrowserContext, complaints: list[str]
) -> None:
    ada = await console.operator()
    tab = await console.enter(browser, f"#/users/{ada.user['id']}")

    async def try_to_disable(said: str) -> None:
        await button(tab, "Disable the account").click()
        await button(tab.get_by_role("dialog"), "Disable the account").click()
        await expect(failure(tab)).to_have_text(said)
        await expect(button(tab, "Disable the account")).to_be_focused()

    await try_to_disable("This is the last active administrator. Nothing was done.")
    path = f"**/admin/users/{ada.user['id']}"
    await tab.route(path, lambda route: route.abort())
    await try_to_disable(
        "The service does not answer. Look whether it was done before you try again."
    )
    await browser.set_offline(True)
    await try_to_disable("You are offline. Nothing was sent; try again when you are back.")
    await browser.set_offline(False)
    await tab.unroute(path)
    body = '{"error": "Too Many Requests", "message": "Slow down", "code": 429}'
    refusal = {"status": 429, "headers": {"Retry-After": "42"}, "body": body}
    await tab.route(path, lambda route: route.fulfill(**refusal))
    await try_to_disable("Too many requests. Try again in 42 seconds.")
    stale = '{"error": "Precondition Failed", "message": "Stale", "code": 412}'
    await tab.unroute(path)
    await tab.route(path, lambda route: route.fulfill(status=412, body=stale))
    await try_to_disable("It was changed meanwhile, and nothing was done. Look at it again first.")
    await tab.unroute(path)
    await tab.goto(f"{console.url}/console#/users/{console.client.app.settings.port}")
    await expect(tab.get_by_role("main")).to_contain_text("There is no such account")


async def test_deed_that_is_done_is_said_to_be_though_the_page_cannot_be_read_again(
    console: Console, browser: BrowserContext, complaints: list[str]
) -> None:
    await console.operator()
    bob = await person(console)
    tab = await console.enter(browser, f"#/users/{bob.user['id']}")
    await expect(button(tab, "Disable the account")).to_be_visible()
    await expect(tab.get_by_text("Loading …")).to_have_count(0)
    await tab.route("**/admin/events?*", lambda route: route.abort())
    await do(tab, "Disable the account", "Disable the account", "bob is disabled.")
    await expect(failure(tab)).to_have_text("The service does not answer. Try again in a moment.")
    await expect(message(tab)).to_have_text("bob is disabled.")


async def test_request_without_an_answer_is_given_up(
    console: Console, browser: BrowserContext, complaints: list[str]
) -> None:
    await console.operator()
    tab = await console.open(browser, "#/users")
    await tab.add_init_script("AbortSignal.timeout = () => AbortSignal.abort();")
    await tab.reload()
    await expect(heading(tab, "Sign in")).to_be_visible()
    await sign_in(tab)
    await expect(failure(tab)).to_have_text("The service does not answer. Try again in a moment.")


async def test_deed_is_sent_once_however_often_its_buttons_are_pressed(
    console: Console, browser: BrowserContext, complaints: list[str]
) -> None:
    await console.operator()
    bob = await person(console)
    tab = await console.enter(browser, f"#/users/{bob.user['id']}")
    held: list[Route] = []

    async def hold(route: Route) -> None:
        if route.request.method == "DELETE":
            held.append(route)
        else:
            await route.continue_()

    await tab.route("**/admin/users/**", hold)
    deed = button(tab, "End the sessions")
    await deed.dblclick()
    dialog = tab.get_by_role("dialog")
    await expect(dialog).to_have_count(1)
    await button(dialog, "End the sessions").dblclick()
    await deed.focus()
    await tab.keyboard.press("Enter")
    await expect(dialog).to_have_count(0)
    await expect(message(tab)).to_be_empty()
    assert len(held) == 1
    await held[0].continue_()
    await expect(message(tab)).to_have_text("bob is signed out everywhere.")
    assert len(held) == 1


async def test_answer_that_comes_late_does_not_take_the_place_of_the_newer_one(
    console: Console, browser: BrowserContext, complaints: list[str]
) -> None:
    await console.operator()
    await person(console)
    tab = await console.enter(browser, "#/users")
    table = tab.get_by_role("table", name="Users, the newest first")
    await expect(table.get_by_role("rowheader")).to_have_text(["bob", "ada"])
    held: list[Route] = []

    async def hold(route: Route) -> None:
        held.append(route)

    await tab.route("**/admin/users?q=ada", hold)
    words = tab.get_by_label("Part of the email or username")
    await words.fill("ada")
    async with tab.expect_request("**/admin/users?q=ada"):
        await words.press("Enter")
    await words.fill("bob")
    await words.press("Enter")
    await expect(table.get_by_role("rowheader")).to_have_text(["bob"])
    await held[0].fulfill(json={"users": [], "next_cursor": None})
    await expect(words).to_have_value("bob")
    await expect(table.get_by_role("rowheader")).to_have_text(["bob"])
    await expect(failure(tab)).to_be_empty()
