"""Tokens in cookies: the same sessions, kept where scripts cannot read them."""

from pathlib import Path
from typing import Any

import pytest

from service.settings import Environment
from service.testing.application import make_settings, running
from service.testing.client import PASSWORD, Answer
from service.testing.clock import Clock
from tests.support.browser import BY_COOKIE, Browser, open_browser, set_cookies
from tests.support.client import Client, refused

ACCESS_LIFE = "3600"
SESSION_LIFE = "2592000"
POST = {"title": "Written in a browser", "content": "Words"}


def attributes(answer: Answer, name: str) -> dict[str, object]:
    """What a cookie of an answer is told to be; Max-Age wins over Expires (RFC 6265, §4.1.2.2)."""
    told = set_cookies(answer)[name].items()
    return {key: value for key, value in told if value and key != "expires"}


async def test_login_puts_the_tokens_into_cookies(client: Client) -> None:
    ada = (await client.register()).json
    answer = await Browser(client.app).enter(ada["email"])
    assert answer.json == {"token_type": "Bearer", "expires_in": 3600, "user": ada}
    safe = {"secure": True, "samesite": "Lax"}
    hidden = {**safe, "httponly": True}
    assert attributes(answer, "access_token") == {**hidden, "path": "/", "max-age": ACCESS_LIFE}
    refresh = {**hidden, "path": "/auth", "max-age": SESSION_LIFE}
    assert attributes(answer, "refresh_token") == refresh
    assert attributes(answer, "csrf_token") == {**safe, "path": "/", "max-age": SESSION_LIFE}
    assert answer.headers["X-CSRF-Token"] == set_cookies(answer)["csrf_token"].value
    assert answer.headers["Cache-Control"] == "no-store"


async def test_login_without_the_transport_header_sets_no_cookie(client: Client) -> None:
    ada = await client.sign_up()
    for answer in (
        await ada.login(ada.user["email"]),
        await ada.post("/auth/refresh", token=ada.refresh_token),
        await ada.post("/auth/logout"),
    ):
        assert not {"Set-Cookie", "X-CSRF-Token"} & set(answer.headers.keys())


@pytest.mark.parametrize("transport", ["body", "Cookie", "", "cookie, cookie"])
async def test_unknown_token_transport_is_refused_and_does_nothing(
    client: Client, transport: str
) -> None:
    headers = {"X-Token-Transport": transport}
    message = "X-Token-Transport takes cookie, or is left out"
    ada = await client.sign_up()
    credentials = {"email": ada.user["email"], "password": PASSWORD}
    refused(await client.post("/auth/login", credentials, headers=headers), 400, message)
    token = ada.refresh_token
    refused(await ada.post("/auth/refresh", token=token, headers=headers), 400, message)
    assert len((await ada.get("/auth/sessions")).json["sessions"]) == 1
    answer = await ada.post("/auth/refresh", token=token)
    assert answer.json["refresh_token"] != token


async def test_access_cookie_authenticates_the_caller(client: Client) -> None:
    browser = await open_browser(client)
    assert (await browser.get("/auth/me")).json == browser.user
    written = await browser.post("/api/posts", POST)
    assert (written.status, written.json["author"]) == (201, browser.user["username"])
    sessions = (await browser.get("/auth/sessions")).json["sessions"]
    assert [session["current"] for session in sessions] == [True]


async def test_failed_login_sets_no_cookie(client: Client) -> None:
    ada = (await client.register()).json
    answer = await Browser(client.app).enter(ada["email"], "not this one")
    refused(answer, 401, "Invalid credentials")
    assert "Set-Cookie" not in answer.headers


async def test_refresh_by_cookie_rotates(client: Client, clock: Clock) -> None:
    browser = await open_browser(client)
    spent, csrf = browser.value("refresh_token"), browser.csrf
    clock.advance(3601)
    answer = await browser.get("/auth/me")
    refused(answer, 401, "The token has expired")
    assert "Set-Cookie" not in answer.headers  # the refresh token is as good as before
    answer = await browser.post("/auth/refresh", headers=BY_COOKIE)
    assert answer.json == {"token_type": "Bearer", "expires_in": 3600}
    assert browser.value("refresh_token") not in ("", spent)
    assert (await browser.get("/auth/me")).json == browser.user
    # The session is the same, so that another tab's token still confirms.
    assert browser.csrf == csrf


async def test_refresh_token_from_a_cookie_is_renewed_in_cookies(client: Client) -> None:
    browser = await open_browser(client)
    answer = await browser.post("/auth/refresh")
    assert answer.json == {"token_type": "Bearer", "expires_in": 3600}
    assert {"access_token", "refresh_token", "csrf_token"} == set(set_cookies(answer))


async def test_refresh_token_as_bearer_may_move_into_cookies(client: Client) -> None:
    ada = await client.sign_up()
    browser = Browser(client.app)
    answer = await browser.post("/auth/refresh", token=ada.refresh_token, headers=BY_COOKIE)
    assert answer.json == {"token_type": "Bearer", "expires_in": 3600}
    assert (await browser.get("/auth/me")).json == ada.user


async def test_reused_refresh_cookie_ends_the_session_and_is_deleted(
    client: Client, clock: Clock
) -> None:
    thief = await open_browser(client)
    owner = await open_browser(client, thief.user["email"])
    owner.jar.update(thief.jar)
    await owner.post("/auth/refresh")
    clock.advance(31)
    answer = await thief.post("/auth/refresh")
    refused(answer, 401, "The refresh token was used before; the session has ended")
    assert thief.jar == {}
    refused(await owner.get("/auth/me"), 401)


async def test_cookies_expire_with_the_session(client: Client, clock: Clock) -> None:
    browser = await open_browser(client)
    for _ in range(4):
        clock.advance(20 * 86_400)
        answer = await browser.post("/auth/refresh")
    # Ten of ninety days are left.
    for name in ("refresh_token", "csrf_token"):
        assert 863_990 <= int(set_cookies(answer)[name]["max-age"]) <= 864_000


async def test_bearer_wins_over_the_cookie(client: Client) -> None:
    browser, bob = await open_browser(client), await client.sign_up()
    assert (await browser.get("/auth/me", token=bob.token)).json == bob.user
    # Nor does a bearer need to be confirmed.
    assert (await browser.post("/api/posts", POST, token=bob.token, csrf="")).status == 201
    for bad in ("Bearer bad", "bearer", "Bearer", "BEARER\tx"):
        refused(await browser.get("/auth/me", headers={"Authorization": bad}), 401)
    refused(await browser.post("/auth/refresh", token="bad"), 401, "The token is invalid")


async def test_other_authorization_scheme_leaves_the_cookie_in_force(client: Client) -> None:
    browser = await open_browser(client)
    basic = {"Authorization": "Basic YTpi"}
    assert (await browser.get("/auth/me", headers=basic)).json == browser.user


async def test_logout_as_bearer_leaves_the_cookies(client: Client) -> None:
    browser, bob = await open_browser(client), await client.sign_up()
    answer = await browser.post("/auth/logout", token=bob.token)
    assert (answer.status, "Set-Cookie" in answer.headers) == (204, False)
    assert (await browser.get("/auth/me")).status == 200


async def test_second_cookie_of_the_same_name_is_refused(client: Client) -> None:
    browser, eve = await open_browser(client), await client.sign_up()
    assert eve.token is not None
    both = [f"access_token={token}" for token in (eve.token, browser.value("access_token"))]
    for order in (both, both[::-1]):
        answer = await browser.get("/auth/me", headers={"Cookie": "; ".join(order)})
        refused(answer, 401, "The token is invalid")


@pytest.mark.parametrize("value", ["", "bad", "ä", "a.b.c", '"bad"', "x" * 5000])
async def test_bad_cookie_is_401_only_where_a_login_is_needed(client: Client, value: str) -> None:
    cookie = {"Cookie": f"access_token={value}; refresh_token={value}"}
    answer = await client.get("/auth/me", headers=cookie)
    refused(answer, 401, "The token is invalid")
    assert answer.headers["WWW-Authenticate"].startswith('Bearer error="invalid_token"')
    assert (await client.get("/api/posts", headers=cookie)).status == 200
    refused(await client.post("/auth/refresh", headers=cookie), 401, "The token is invalid")


async def test_access_and_refresh_cookies_are_not_interchangeable(client: Client) -> None:
    browser = await open_browser(client)
    swapped = {
        "Cookie": f"access_token={browser.value('refresh_token')}; "
        f"refresh_token={browser.value('access_token')}"
    }
    refused(await browser.get("/auth/me", headers=swapped), 401, "The token is invalid")
    refused(await browser.post("/auth/refresh", headers=swapped), 401, "The token is invalid")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/auth/logout", None),
        ("DELETE", "/auth/sessions", None),
        ("DELETE", "/auth/sessions/{own}", None),
        ("DELETE", "/auth/me", {"password": PASSWORD}),
    ],
)
async def test_ending_one_s_own_session_deletes_the_cookies(
    client: Client, method: str, path: str, body: object
) -> None:
    browser = await open_browser(client)
    held = dict(browser.jar)
    own = (await browser.get("/auth/sessions")).json["sessions"][0]["id"]
    options: dict[str, Any] = {} if body is None else {"json": body}
    answer = await browser.request(method, path.format(own=own), **options)
    assert (answer.status, browser.jar) == (204, {})
    # A browser drops the cookie of this very path, and lets no plain one replace a secure one.
    cleared = set_cookies(answer)
    assert {name: c["path"] for name, c in cleared.items()} == {
        name: c["path"] for name, c in held.items()
    }
    assert all(cookie["secure"] for cookie in cleared.values())
    browser.jar = held
    refused(await browser.get("/auth/me"), 401, "The session has ended")
    refused(await browser.post("/auth/refresh"), 401)


async def test_ending_another_session_leaves_the_cookies(client: Client) -> None:
    browser = await open_browser(client)
    await open_browser(client, browser.user["email"])
    sessions = (await browser.get("/auth/sessions")).json["sessions"]
    other = next(session["id"] for session in sessions if not session["current"])
    answer = await browser.delete(f"/auth/sessions/{other}")
    assert (answer.status, "Set-Cookie" in answer.headers) == (204, False)
    assert (await browser.get("/auth/me")).status == 200


@pytest.mark.parametrize(
    ("environment", "scheme", "secure"),
    [
        (Environment.DEVELOPMENT, "http", False),
        (Environment.DEVELOPMENT, "https", True),
        (Environment.TESTING, "http", True),
    ],
)
async def test_cookies_are_insecure_only_in_development_over_http(
    database_url: str, tmp_path: Path, environment: Environment, scheme: str, *, secure: bool
) -> None:
    settings = make_settings(database_url=database_url, data_dir=tmp_path, service_env=environment)
    async with running(settings) as app:
        client = Client(app)
        ada = (await client.register()).json
        credentials = {"email": ada["email"], "password": PASSWORD}
        login = await client.post("/auth/login", credentials, headers=BY_COOKIE, scheme=scheme)
    assert [bool(cookie["secure"]) for cookie in set_cookies(login).values()] == [secure] * 3


async def test_caller_by_cookie_is_counted_by_user(database_url: str, tmp_path: Path) -> None:
    settings = make_settings(
        database_url=database_url,
        data_dir=tmp_path,
        ratelimit_enabled=True,
        ratelimit_read="2/minute",
    )
    async with running(settings) as app:
        client = Client(app)
        ada, bob = await open_browser(client), await open_browser(client)
        assert [(await ada.get("/api/posts")).status for _ in range(3)] == [200, 200, 429]
        assert (await bob.get("/api/posts")).status == 200
        assert (await client.get("/api/posts")).status == 200
