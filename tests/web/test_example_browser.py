"""The example page in a real browser, from another origin: cookies, CSRF, CORS and the stream."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, expect

from service.testing.client import PASSWORD
from tests.support.pages import Site, post, serving_files

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

EMAIL = "ada@example.com"


async def sign_in(tab: Page, action: str) -> None:
    await tab.fill("#email", EMAIL)
    await tab.fill("#password", PASSWORD)
    await tab.get_by_role("button", name=action).click()
    await expect(tab.locator("#username")).to_have_text("ada")


async def write(tab: Page, title: str) -> None:
    await tab.fill("#title", title)
    await tab.fill("#content", "Words & <b>signs</b>")
    await tab.get_by_role("button", name="Publish").click()


async def rename(tab: Page, old: str, new: str) -> None:
    await post(tab, old).get_by_role("button", name="Edit").click()
    await post(tab, old).get_by_label("Title").fill(new)


async def test_two_browser_tabs_write_edit_and_follow_posts(
    site: Site, browser: BrowserContext
) -> None:
    one = await site.open(browser)
    complaints: list[str] = []
    one.on("pageerror", lambda error: complaints.append(error.message))
    await sign_in(one, "Register")
    other = await site.open(browser)
    other.on("pageerror", lambda error: complaints.append(error.message))
    # The cookies are the browser's: the other tab is signed in already.
    await expect(other.locator("#username")).to_have_text("ada")

    await write(one, "First <i>")
    await expect(post(one, "First <i>")).to_be_visible()
    await expect(post(other, "First <i>")).to_be_visible()
    await expect(post(other, "First <i>").locator(".content")).to_have_text("Words & <b>signs</b>")

    await rename(other, "First <i>", "Other's")
    await rename(one, "First <i>", "Second")
    await post(one, "First <i>").get_by_role("button", name="Save").click()
    # Through the stream, around the form that is open in the other tab.
    await expect(post(other, "Second")).to_be_visible()
    await post(other, "Second").get_by_role("button", name="Save").click()
    await expect(post(other, "Second").get_by_role("alert")).to_contain_text("changed elsewhere")
    await expect(post(other, "Second").get_by_label("Title")).to_have_value("Other's")
    await post(other, "Second").get_by_role("button", name="Save").click()
    await expect(post(one, "Other's")).to_be_visible()

    await post(one, "Other's").get_by_role("button", name="Delete").click()
    await expect(post(other, "Other's")).to_have_count(0)
    await one.get_by_role("button", name="Undo").click()
    await expect(post(other, "Other's")).to_be_visible()

    assert complaints == []
    posts = (await site.client.get("/api/posts")).json["posts"]
    assert [(found["title"], found["version"]) for found in posts] == [("Other's", 3)]


async def test_browser_scripts_cannot_read_the_tokens(site: Site, browser: BrowserContext) -> None:
    tab = await site.open(browser)
    await sign_in(tab, "Register")
    held = {cookie["name"]: cookie for cookie in await browser.cookies(f"{site.api}/auth/me")}
    assert set(held) == {"access_token", "refresh_token", "csrf_token"}
    readable = await tab.evaluate("document.cookie")
    stored = await tab.evaluate("JSON.stringify([localStorage, sessionStorage])")
    # On the service's own origin, too, and where the refresh token goes.
    await tab.goto(f"{site.api}/auth/sessions")
    readable_at_home = await tab.evaluate("document.cookie")
    for text in (readable, stored, readable_at_home):
        assert "access_token" not in text
        assert "refresh_token" not in text
        assert held["access_token"]["value"] not in text
        assert held["refresh_token"]["value"] not in text
    csrf = f"csrf_token={held['csrf_token']['value']}"
    assert (readable, readable_at_home) == (csrf, csrf)


async def test_browser_renews_an_expired_access_token_unnoticed(
    site: Site, browser: BrowserContext
) -> None:
    tab = await site.open(browser)
    await sign_in(tab, "Register")
    await browser.clear_cookies(name="access_token")
    await write(tab, "Later")
    await expect(post(tab, "Later")).to_be_visible()
    await tab.get_by_role("button", name="Log out").click()
    await expect(tab.locator("#sign-in")).to_be_visible()
    assert await browser.cookies() == []
    await tab.reload()
    await expect(tab.locator("#sign-in")).to_be_visible()


async def test_browser_list_continues_when_scrolled(site: Site, browser: BrowserContext) -> None:
    ada = await site.client.sign_up(username="ada")
    for number in range(45):
        written = {"title": f"Number {number}", "content": "Words\n" * 10}
        assert (await ada.post("/api/posts", written)).status == 201
    tab = await site.open(browser)
    await expect(post(tab, "Number 44")).to_be_visible()
    await expect(tab.get_by_role("article")).not_to_have_count(45)
    async with asyncio.timeout(20):
        while await post(tab, "Number 0").count() == 0:
            await tab.get_by_role("article").last.scroll_into_view_if_needed()
    titles = await tab.locator("article h3").all_text_contents()
    assert titles == [f"Number {number}" for number in reversed(range(45))]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        # Another port is another origin, but the same site: the cookies come along.
        ("localhost", 403),
        # From another site they do not (SameSite=Lax).
        ("127.0.0.1", 401),
    ],
)
async def test_form_of_a_foreign_page_is_refused_in_the_browser(
    site: Site, browser: BrowserContext, tmp_path: Path, host: str, status: int
) -> None:
    await sign_in(await site.open(browser), "Register")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "index.html").write_text(
        f'<form method="post" action="{site.api}/auth/logout" enctype="text/plain">'
        "<button>Win</button></form>"
    )
    with serving_files(foreign) as port:
        tab = await browser.new_page()
        await tab.goto(f"http://{host}:{port}/")
        async with tab.expect_response(f"{site.api}/auth/logout") as told:
            await tab.click("button")
        answer = await told.value
        body: Any = await answer.json()
        assert (answer.status, body["code"]) == (status, status)
        if status == 403:
            assert body["message"] == "CSRF token missing or wrong"
        # Nor may its script read anything: the origin is not named.
        await tab.goto(f"http://{host}:{port}/")
        reading = f"fetch('{site.api}/auth/me', {{credentials: 'include'}}).catch(e => e.name)"
        assert await tab.evaluate(reading) == "TypeError"
    # The session lives on.
    await expect((await site.open(browser)).locator("#username")).to_have_text("ada")
