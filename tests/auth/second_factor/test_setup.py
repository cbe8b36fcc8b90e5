"""The set-up of an authenticator app: what is shown, and what it needs."""

import asyncio
import threading
from base64 import b32decode
from datetime import datetime, timedelta
from urllib.parse import unquote
from uuid import UUID

import asyncpg
import pytest
import segno

from service.auth.encryption.encryption import Encryption
from service.auth.second_factor import routes
from service.settings import Settings
from service.testing.clock import Clock
from tests.support.browser import Browser, open_browser
from tests.support.client import Client, refused
from tests.support.qr import read_modules
from tests.support.second_factor import (
    CONFIRM,
    another_session,
    begin,
    beside,
    confirm,
    is_on,
    owner_of,
    verify_email,
)

SETUPS = "SELECT count(*) FROM totp_setups"


async def test_setup_shows_secret_uri_picture_and_end(client: Client, clock: Clock) -> None:
    one = await owner_of(client)
    before = clock.now()
    answer = await one.post("/auth/totp")
    assert answer.status == 201
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Location" not in answer.headers
    assert set(answer.json) == {"secret", "uri", "qr", "expires_at"}
    secret, email = answer.json["secret"], one.user["email"]
    assert len(b32decode(secret)) == 20
    label = f"127.0.0.1:{email.replace('@', '%40')}"
    assert answer.json["uri"] == f"otpauth://totp/{label}?secret={secret}&issuer=127.0.0.1"
    left = datetime.fromisoformat(answer.json["expires_at"]) - before
    assert timedelta(minutes=10) <= left < timedelta(minutes=10, seconds=20)


async def test_picture_is_the_uri_in_black_on_white(client: Client) -> None:
    answer = await (await owner_of(client)).post("/auth/totp")
    kind, _, picture = answer.json["qr"].partition(",")
    assert kind == "data:image/svg+xml;charset=utf-8"
    code = segno.make(answer.json["uri"], error="m", micro=False, boost_error=False)
    # Four modules of margin, in the colour of the ground (ISO/IEC 18004).
    dark = {(x, y) for y, row in enumerate(code.matrix, 4) for x, bit in enumerate(row, 4) if bit}
    assert read_modules(unquote(picture)) == dark
    assert "fill='#fff'" in unquote(picture)


async def test_picture_is_drawn_beside_the_event_loop_before_the_account_is_locked(
    client: Client, db: "asyncpg.Connection", monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await owner_of(client)
    drawing, drawn = threading.Event(), threading.Event()

    def draw(_uri: str) -> str:
        drawing.set()
        assert drawn.wait(10)
        return "data:,"

    monkeypatch.setattr(routes, "draw_qr", draw)
    answer = asyncio.create_task(one.post("/auth/totp"))
    try:
        assert await asyncio.to_thread(drawing.wait, 10)
        await db.execute("SET lock_timeout = '5s'")
        await db.execute("SELECT 1 FROM users FOR UPDATE")
        assert await db.fetchval(SETUPS) == 0
    finally:
        drawn.set()
    assert (await answer).status == 201


def test_picture_of_a_long_uri_has_a_lower_level_of_correction() -> None:
    short, long = ("otpauth://totp/" + "a" * length for length in (200, 1_500))
    for uri, level in ((short, "m"), (long, "l")):
        code = segno.make(uri, error=level, micro=False, boost_error=False)
        assert routes.draw_qr(uri) == code.svg_data_uri(scale=4, dark="#000", light="#fff")


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"totp_issuer": "Büro & Söhne"}, "B%C3%BCro%20%26%20S%C3%B6hne"),
        ({"public_url": "https://login.example.com/"}, "login.example.com"),
    ],
)
async def test_issuer_is_the_setting_s_or_the_host_of_the_public_url(
    client: Client, settings: Settings, changes: dict[str, object], shown: str
) -> None:
    one = await owner_of(client)
    async with beside(settings, **changes) as app:
        uri = (await Client(app, one.token).post("/auth/totp")).json["uri"]
    assert uri.startswith(f"otpauth://totp/{shown}:")
    assert uri.endswith(f"&issuer={shown}")


async def test_stored_secret_is_encrypted_for_its_account(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await owner_of(client)
    authenticator = await begin(one)
    stored = [await db.fetchval("SELECT secret FROM totp_setups")]
    await confirm(one, authenticator)
    stored.append(await db.fetchval("SELECT secret FROM totps"))
    for secret in stored:
        assert authenticator.secret not in secret
        opened = client.app.component(Encryption).decrypt("totp", UUID(one.user["id"]), secret)
        assert opened == authenticator.secret
    assert await db.fetchval(SETUPS) == 0


async def test_setup_needs_a_session_that_is_fresh(
    client: Client, clock: Clock, db: "asyncpg.Connection"
) -> None:
    one = await owner_of(client)
    clock.advance(901)
    answer = await one.post("/auth/totp")
    assert (answer.status, answer.json["reason"]) == (403, "step_up_required")
    assert answer.json["methods"] == ["password"]
    assert await db.fetchval(SETUPS) == 0
    assert (await (await another_session(one)).post("/auth/totp")).status == 201


async def test_setup_needs_a_verified_address(client: Client, db: "asyncpg.Connection") -> None:
    one = await client.sign_up()
    answer = await one.post("/auth/totp")
    assert (answer.status, answer.json["reason"]) == (403, "email_unverified")
    assert await db.fetchval(SETUPS) == 0
    await verify_email(one)
    assert (await one.post("/auth/totp")).status == 201


async def test_setup_and_confirmation_need_a_login(client: Client) -> None:
    refused(await client.post("/auth/totp"), 401)
    refused(await client.post(CONFIRM, {"code": "²"}), 401)


async def test_cookie_sets_up_with_the_csrf_token_alone(
    client: Client, db: "asyncpg.Connection"
) -> None:
    browser: Browser = await open_browser(client)
    await verify_email(browser)
    refused(await browser.post("/auth/totp", csrf=""), 403, "CSRF token missing or wrong")
    assert await db.fetchval(SETUPS) == 0
    authenticator = await begin(browser)
    # Before the body is looked at, and before the code is judged.
    for body in ({}, {"code": authenticator.code()}):
        refused(await browser.post(CONFIRM, body, csrf=""), 403, "CSRF token missing or wrong")
    assert not await is_on(browser)
    await confirm(browser, authenticator)
    assert await is_on(browser)
