"""CSRF: what a cookie authenticates and may write must be confirmed."""

import re
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from service.auth.csrf import CsrfTokens
from service.auth.errors import CsrfRefused
from service.ids import new_id
from service.testing.application import make_settings
from service.testing.client import PASSWORD
from tests.support.browser import Browser, open_browser
from tests.support.client import Client, refused

REFUSED = "CSRF token missing or wrong"
POST = {"title": "Written in a browser", "content": "Words"}
SAFE = {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize("csrf", ["", "wrong", "ä", "x" * 10_000])
async def test_write_without_the_csrf_token_is_refused_and_does_nothing(
    client: Client, csrf: str
) -> None:
    browser = await open_browser(client)
    refused(await browser.post("/api/posts", POST, csrf=csrf), 403, REFUSED)
    assert (await client.get("/api/posts")).json["total"] == 0


async def test_csrf_token_of_another_session_is_refused(client: Client) -> None:
    browser = await open_browser(client)
    own_other = await open_browser(client, browser.user["email"])
    eve = await open_browser(client)
    for planted in (eve.csrf, own_other.csrf):
        # A neighbouring domain plants its cookie, and its page repeats it.
        browser.jar["csrf_token"].set("csrf_token", planted, planted)
        refused(await browser.post("/api/posts", POST), 403, REFUSED)


async def test_reading_needs_no_csrf_token(client: Client) -> None:
    browser = await open_browser(client)
    for method in ("GET", "HEAD", "OPTIONS"):
        assert (await browser.request(method, "/auth/me", csrf="")).status == 200


async def test_every_authenticated_write_checks_the_csrf_token(client: Client) -> None:
    """Whatever route asks for a login asks a cookie's owner for the token, too."""
    browser = await open_browser(client)
    guarded = []
    for rule in browser.app.url_map.iter_rules():
        path = re.sub("<number:[^>]+>", "1", rule.rule)
        path = re.sub("<[^>]+>", lambda _: str(new_id()), path)
        for method in sorted(set(rule.methods or ()) - SAFE):
            if (await client.request(method, path)).status == 401:
                refused(await browser.request(method, path, csrf=""), 403, REFUSED)
                guarded.append(rule.endpoint)
    assert {"posts.create_post", "auth.logout", "auth.refresh", "accounts.delete_me"} <= set(
        guarded
    )


async def test_refresh_without_the_csrf_token_spends_no_refresh_token(
    client: Client, db: "asyncpg.Connection"
) -> None:
    browser = await open_browser(client)
    before = await db.fetchval("SELECT token_id FROM sessions")
    refused(await browser.post("/auth/refresh", csrf=""), 403, REFUSED)
    assert await db.fetchval("SELECT token_id FROM sessions") == before
    assert (await browser.post("/auth/refresh")).status == 200


async def test_logout_without_the_csrf_token_ends_no_session(client: Client) -> None:
    browser = await open_browser(client)
    answer = await browser.post("/auth/logout", csrf="")
    refused(answer, 403, REFUSED)
    assert "Set-Cookie" not in answer.headers
    assert (await browser.get("/auth/me")).status == 200


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"]
)
async def test_foreign_form_is_refused(client: Client, content_type: str) -> None:
    browser = await open_browser(client)
    answer = await browser.request(
        "POST",
        "/api/posts",
        csrf="",
        data=b'{"title": "x", "content": "y", "z": "="}',
        headers={"Content-Type": content_type, "Origin": "https://evil.example"},
    )
    refused(answer, 403, REFUSED)


async def test_csrf_is_checked_between_authentication_and_the_body(client: Client) -> None:
    """Who (401), CSRF (403), body (400), what (404)."""
    browser = await open_browser(client)
    unknown = f"/api/posts/{new_id()}"
    refused(await client.put(unknown, {"title": 1}), 401)
    refused(await browser.put(unknown, {"title": 1}, csrf=""), 403, REFUSED)
    refused(await browser.put(unknown, {"title": 1}), 400)
    refused(await browser.put(unknown, {"title": "x"}), 404)


async def test_csrf_is_checked_before_operator_rights(client: Client) -> None:
    browser = await open_browser(client)
    path = f"/admin/users/{new_id()}"
    refused(await browser.patch(path, {"is_admin": True}, csrf=""), 403, REFUSED)
    refused(await browser.patch(path, {"is_admin": True}), 403, "Only administrators may do this")


async def test_login_and_registration_need_no_csrf_token(client: Client) -> None:
    """A browser that holds cookies already may be without the token."""
    browser = await open_browser(client)
    credentials: dict[str, Any] = {"email": "new@example.com", "password": PASSWORD}
    assert (await browser.post("/auth/register", credentials, csrf="")).status == 201
    assert (await browser.post("/auth/login", credentials, csrf="")).status == 200


def test_csrf_token_is_bound_to_the_session_and_the_secret() -> None:
    session_id = UUID("019ab2f5-1b7a-7c41-9d6e-5f3a2b8c0d17")
    tokens = CsrfTokens(make_settings(database_url="postgresql:///"))
    token = tokens.issue(session_id)
    tokens.check(session_id, token)
    assert len(token) == 32
    other = CsrfTokens(make_settings(database_url="postgresql:///", secret_key="another" * 8))
    for issued, wrong in ((tokens, new_id()), (other, session_id)):
        with pytest.raises(CsrfRefused):
            issued.check(wrong, token)


async def test_csrf_token_is_no_access_token(client: Client) -> None:
    browser = await open_browser(client)
    assert isinstance(browser, Browser)
    refused(await client.get("/auth/me", token=browser.csrf), 401, "The token is invalid")
