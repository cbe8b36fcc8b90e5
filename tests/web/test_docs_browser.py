"""The page in a real browser: sign in by trying it, write a post, and speak to no other host."""

import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import BrowserContext, Page, expect

from service.settings import Settings
from service.testing.application import make_app
from service.testing.client import PASSWORD
from service.testing.server import serving
from tests.support.client import Client
from tests.support.second_factor import turn_on
from tests.support.server import exchange, head

CREDENTIALS = {"email": "ada@example.com", "password": PASSWORD}

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]


async def test_user_of_the_docs_page_logs_in_and_writes_a_post(
    settings: Settings, browser: BrowserContext
) -> None:
    # The page calls the host that it was opened on, also where the document names another one.
    app = make_app(settings.model_copy(update={"public_url": "https://service.example"}))
    client = Client(app)
    page = await browser.new_page()
    requested: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error.message}"))
    async with serving(app) as port:
        await exchange(port, head("GET", "/health/live"))  # it has started
        assert (await client.register("ada@example.com", username="ada")).status == 201
        await page.goto(f"http://127.0.0.1:{port}/docs")
        await _sign_in_and_write(page)
        await page.evaluate("void ui.preauthorizeApiKey('apiKey', 'svc_secret')")
        await page.evaluate("void ui.authActions.persistAuthorizationIfNeeded()")
        stored = json.loads(await page.evaluate("localStorage.getItem('authorized')"))
        assert set(stored) == {"accessToken", "refreshToken"}
        posts = (await client.get("/api/posts")).json["posts"]
    assert [(post["title"], post["author"]) for post in posts] == [("From the page", "ada")]
    hosts = {urlsplit(url).netloc for url in requested if not url.startswith("data:")}
    assert hosts == {f"127.0.0.1:{port}"}
    # What the policy refuses is told as an error; Swagger UI's own advice is none.
    errors = [text for text in complaints if text.startswith("error:")]
    assert not [text for text in errors if "Deprecated:" not in text]


async def test_docs_page_asks_for_the_code_of_a_second_factor(
    settings: Settings, browser: BrowserContext
) -> None:
    app = make_app(settings)
    client = Client(app)
    page = await browser.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(f"error: {error.message}"))
    async with serving(app) as port:
        await exchange(port, head("GET", "/health/live"))  # it has started
        ada = await client.sign_up("ada@example.com", username="ada")
        authenticator = await turn_on(ada)
        await page.goto(f"http://127.0.0.1:{port}/docs")
        form, state = page.locator("#second-factor"), page.locator("#signed-in")
        await expect(form).to_be_hidden()
        await _try(page, "auth-login", CREDENTIALS, status=403)
        await form.get_by_label("Code").fill(authenticator.wrong_code())
        await form.get_by_role("button", name="Sign in").click()
        await expect(state).to_have_text("The code is wrong or has been used")
        await form.get_by_label("Code").fill(authenticator.recovery_codes[0])
        await form.get_by_role("button", name="Sign in").click()
        await expect(state).to_have_text("You are signed in.")
        await expect(form).to_be_hidden()
        await _try(page, "accounts-read_me", None, status=200)
    assert complaints == []


async def _sign_in_and_write(page: Page) -> None:
    await _try(page, "auth-login", CREDENTIALS, status=200)
    await expect(page.locator("#signed-in")).to_have_text("You are signed in.")
    post = {"title": "From the page", "content": "Written by trying it."}
    await _try(page, "posts-create_post", post, status=201)
    await page.reload()
    await _try(page, "accounts-read_me", None, status=200)


async def _try(page: Page, operation: str, body: Any, *, status: int) -> None:
    """Execute an operation on the page and see the status that it shows."""
    block = page.locator(f"#operations-{operation}")
    await block.locator(".opblock-summary-control").click()
    if body is not None:
        await block.locator("textarea.body-param__text").fill(json.dumps(body))
    await block.get_by_role("button", name="Execute").click()
    shown = block.locator(".live-responses-table tbody .response-col_status").first
    await expect(shown).to_contain_text(str(status))
