"""Logging in to an account whose second factor is on."""

import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from service.auth.passwords import Match, Passwords
from service.testing.client import PASSWORD
from service.testing.clock import Clock
from tests.support.client import Client, faults, refused
from tests.support.second_factor import begin, turn_on
from tests.support.sign_in import Owner, as_client, begin_login, refused_for, show, sign_in

LIVE = "SELECT count(*) FROM sessions WHERE ended_at IS NULL"


async def test_right_password_is_refused_with_a_login_token(
    client: Client, ada: Owner, db: "asyncpg.Connection"
) -> None:
    credentials = {"email": "ADA@example.com", "password": PASSWORD}
    cookies = {"X-Token-Transport": "cookie"}
    answer = await client.post("/auth/login", credentials, headers=cookies)
    assert answer.status == 403
    token = answer.json["login_token"]
    assert answer.json == {
        "error": "Forbidden",
        "message": "A second factor is required",
        "code": 403,
        "request_id": answer.headers["X-Request-ID"],
        "reason": "second_factor_required",
        "login_token": token,
        "expires_in": 300,
        "factors": ["totp", "recovery_code"],
    }
    assert "Set-Cookie" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    assert re.fullmatch("[A-Za-z0-9_-]{43}", token)
    digest = hashlib.sha256(token.encode()).digest()
    stored = await db.fetch("SELECT digest, methods FROM login_tokens")
    assert [tuple(row) for row in stored] == [(digest, ["password"])]
    assert await db.fetchval(LIVE) == 1  # the one that turned it on


async def test_code_opens_a_session_as_a_login_does(
    client: Client, ada: Owner, db: "asyncpg.Connection"
) -> None:
    answer = await sign_in(client, ada.email, code=ada.app.code())
    assert answer.status == 200
    assert set(answer.json) == {"access_token", "refresh_token", "token_type", "expires_in", "user"}
    assert answer.json["user"] == (await ada.client.get("/auth/me")).json
    opened = as_client(client, answer)
    sessions = (await opened.get("/auth/sessions")).json["sessions"]
    assert [one["methods"] for one in sessions if one["current"]] == [["password", "totp"]]
    assert (await opened.post("/auth/refresh", token=opened.refresh_token)).status == 200
    detail = "SELECT detail->>'methods' FROM security_events WHERE kind = 'login.succeeded'"
    assert '["password", "totp"]' in [row[0] for row in await db.fetch(detail)]


@pytest.mark.parametrize("spelling", [str, str.lower, lambda code: code.replace("-", " ")])
async def test_recovery_code_opens_a_session_and_says_how_many_are_left(
    client: Client,
    ada: Owner,
    db: "asyncpg.Connection",
    monkeypatch: pytest.MonkeyPatch,
    spelling: Callable[[str], str],
) -> None:
    noticed: list[Any] = []

    async def notify(_session: Any, user_id: Any, notice: Any, **detail: str) -> None:
        noticed.append((str(user_id), notice.value, detail))

    monkeypatch.setattr("service.auth.second_factor.verification.notify_owner", notify)
    code = ada.app.recovery_codes[0]
    answer = await sign_in(client, ada.email, recovery_code=spelling(code))
    assert answer.status == 200
    assert answer.json["recovery_codes_left"] == 9
    opened = as_client(client, answer)
    sessions = (await opened.get("/auth/sessions")).json["sessions"]
    methods = [one["methods"] for one in sessions if one["current"]]
    assert methods == [["password", "recovery_code"]]
    assert noticed == [(opened.user["id"], "recovery code used", {"left": "9"})]
    kind = "SELECT detail->>'left' FROM security_events WHERE kind = 'recovery_codes.used'"
    assert await db.fetchval(kind) == "9"
    again = await sign_in(client, ada.email, recovery_code=code)
    refused_for(again, 401, "second_factor_failed")


async def test_last_recovery_code_leaves_the_authenticator_app(client: Client, ada: Owner) -> None:
    left = []
    for code in ada.app.recovery_codes:
        answer = await sign_in(client, ada.email, recovery_code=code)
        left.append(answer.json["recovery_codes_left"])
    assert left == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    asked = await client.post("/auth/login", {"email": ada.email, "password": PASSWORD})
    assert asked.json["factors"] == ["totp"]
    assert (await show(client, asked.json["login_token"], code=ada.app.code())).status == 200


async def test_second_factor_login_by_cookie_puts_the_tokens_in_cookies(
    client: Client, ada: Owner
) -> None:
    body = {"login_token": await ada.begin(), "recovery_code": ada.app.recovery_codes[0]}
    headers = {"X-Token-Transport": "cookie"}
    answer = await client.post("/auth/login/second-factor", body, headers=headers)
    assert answer.status == 200
    assert set(answer.json) == {"token_type", "expires_in", "user", "recovery_codes_left"}
    names = {text.partition("=")[0] for text in answer.headers.getlist("Set-Cookie")}
    assert names == {"access_token", "refresh_token", "csrf_token"}
    wrong = await client.post(
        "/auth/login/second-factor", body, headers={"X-Token-Transport": "pigeon"}
    )
    assert wrong.status == 400


async def test_login_token_is_no_bearer_token(client: Client, ada: Owner) -> None:
    token = await ada.begin()
    for method, path in (("GET", "/auth/me"), ("POST", "/auth/refresh"), ("POST", "/auth/step-up")):
        assert (await client.request(method, path, token=token)).status == 401


async def test_wrong_password_gets_the_same_words_with_a_second_factor(
    client: Client, ada: Owner
) -> None:
    refused(await client.login(ada.email, "wrong password"), 401, "Invalid credentials")


async def test_disabled_account_with_a_second_factor_gets_no_login_token(
    client: Client, ada: Owner, db: "asyncpg.Connection"
) -> None:
    await db.execute("UPDATE users SET is_active = false")
    refused(await client.login(ada.email), 403, "Account disabled")
    assert await db.fetchval("SELECT count(*) FROM login_tokens") == 0


FORMS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"code", "recovery_code", "passkey"}),
    ({"hint": {}}, {"code", "recovery_code", "passkey"}),
    ({"passkey": None}, {"passkey"}),
    ({"code": "123456", "recovery_code": "0" * 16}, {"code", "recovery_code"}),
    ({"code": None}, {"code"}),
    ({"code": "123456", "recovery_code": None}, {"recovery_code"}),
    ({"code": 123456}, {"code"}),
    ({"code": "12345"}, {"code"}),
    ({"code": "1234567"}, {"code"}),
    ({"code": "\uff11\uff12\uff13\uff14\uff15\uff16"}, {"code"}),
    ({"code": "12345\u00b2"}, {"code"}),
    ({"code": "\0"}, {"code"}),
    ({"recovery_code": "0" * 15}, {"recovery_code"}),
    ({"recovery_code": "\u017f" * 16}, {"recovery_code"}),
    ({"recovery_code": "!" * 16}, {"recovery_code"}),
    ({"login_token": None, "code": "123456"}, {"login_token"}),
    ({"login_token": "", "code": "123456"}, {"login_token"}),
]


@pytest.mark.parametrize(("values", "named"), FORMS)
async def test_malformed_second_factor_is_named(
    anyone: Client, values: dict[str, Any], named: set[str]
) -> None:
    body = {"login_token": "unknown", **values}
    assert faults(await anyone.post("/auth/login/second-factor", body)) == named


async def test_unknown_members_and_spaces_of_a_code_are_ignored(client: Client, ada: Owner) -> None:
    code = ada.app.code()
    spaced = f" {code[:3]} {code[3:]} "
    assert (await sign_in(client, ada.email, code=spaced, hint={"id": 1})).status == 200


async def test_login_token_opens_one_session(client: Client, ada: Owner) -> None:
    token = await ada.begin()
    assert (await show(client, token, code=ada.app.code())).status == 200
    again = await show(client, token, code=ada.app.code(1))
    refused_for(again, 401, "login_expired")
    assert again.headers["WWW-Authenticate"] == "Bearer"


async def test_unknown_login_token_is_refused(anyone: Client) -> None:
    refused_for(await show(anyone, "unknown", code="123456"), 401, "login_expired")


async def test_login_token_expires_after_five_minutes(
    client: Client, ada: Owner, clock: Clock
) -> None:
    first, second = await ada.begin(), await ada.begin()
    clock.advance(290)
    assert (await show(client, first, code=ada.app.code())).status == 200
    clock.advance(11)
    refused_for(await show(client, second, code=ada.app.code(1)), 401, "login_expired")


async def test_five_wrong_recovery_codes_end_a_login_token_and_lock_nothing(
    client: Client, ada: Owner
) -> None:
    token = await ada.begin()
    for _ in range(5):
        wrong = await show(client, token, recovery_code="0" * 16)
        refused_for(wrong, 401, "second_factor_failed")
    good = ada.app.recovery_codes[0]
    refused_for(await show(client, token, recovery_code=good), 401, "login_expired")
    assert (await sign_in(client, ada.email, code=ada.app.code())).status == 200


async def change_password(ada: Owner) -> None:
    body = {"current_password": PASSWORD, "new_password": "an entirely different staple"}
    assert (await ada.client.put("/auth/password", body)).status == 204


async def change_email(ada: Owner) -> None:
    answer = await ada.client.patch("/auth/me", {"email": "countess@example.com"})
    assert answer.status == 200


async def remove_totp(ada: Owner) -> None:
    assert (await ada.client.delete("/auth/totp")).status == 204


async def turn_off(ada: Owner) -> None:
    assert (await ada.client.delete("/auth/second-factor")).status == 204


async def replace_totp(ada: Owner) -> None:
    await turn_on(ada.client)


async def delete(ada: Owner) -> None:
    assert (await ada.client.delete("/auth/me", {"password": PASSWORD})).status == 204


async def set_active(ada: Owner, *values: bool) -> None:
    admin = await ada.client.as_admin()
    for value in values:
        path = f"/admin/users/{ada.client.user['id']}"
        assert (await admin.patch(path, {"is_active": value})).status == 200


async def disable_and_enable(ada: Owner) -> None:
    await set_active(ada, False, True)


CHANGES = [
    change_password, change_email, remove_totp, turn_off, replace_totp, delete, disable_and_enable
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
async def test_change_of_the_account_ends_its_login_tokens(
    client: Client, ada: Owner, change: Callable[[Owner], Awaitable[None]]
) -> None:
    token = await ada.begin()
    await change(ada)
    for proof in ({"code": ada.app.code()}, {"recovery_code": ada.app.recovery_codes[0]}):
        refused_for(await show(client, token, **proof), 401, "login_expired")


async def test_new_recovery_codes_leave_login_tokens(client: Client, ada: Owner) -> None:
    token = await ada.begin()
    made = await ada.client.post("/auth/second-factor/recovery-codes")
    assert made.status == 201
    old, new = ada.app.recovery_codes[0], made.json["recovery_codes"][0]
    refused_for(await show(client, token, recovery_code=old), 401, "second_factor_failed")
    assert (await show(client, token, recovery_code=new)).status == 200


async def test_set_up_that_waits_leaves_the_authenticator_app_in_force(
    client: Client, ada: Owner
) -> None:
    await begin(ada.client)
    assert (await sign_in(client, ada.email, code=ada.app.code())).status == 200


async def test_login_token_of_a_disabled_account_is_refused_as_disabled(
    client: Client, ada: Owner, db: "asyncpg.Connection"
) -> None:
    token = await ada.begin()
    await set_active(ada, False)
    refused(await show(client, token, code=ada.app.code()), 403, "Account disabled")
    reason = "SELECT detail->>'reason' FROM security_events WHERE kind = 'login.failed'"
    assert await db.fetchval(reason) == "account disabled"


async def test_wrong_code_is_recorded_as_a_failed_login(
    client: Client, ada: Owner, db: "asyncpg.Connection"
) -> None:
    wrong = await sign_in(client, ada.email, code=ada.app.wrong_code())
    refused_for(wrong, 401, "second_factor_failed")
    assert wrong.headers["WWW-Authenticate"] == "Bearer"
    rows = await db.fetch(
        "SELECT kind, actor_id, detail->>'reason' AS reason, detail->>'method' AS method "
        "FROM security_events WHERE kind IN ('login.failed', 'second_factor.failed')"
    )
    assert {tuple(row) for row in rows} == {
        ("login.failed", None, "second factor", None),
        ("second_factor.failed", None, None, "totp"),
    }


def during_the_match(client: Client, monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """Make a change once while a password is being judged."""
    passwords = client.app.component(Passwords)
    match, changes = passwords.match, [change]

    async def slow_match(password: str, hashed: str | None) -> Match:
        matched = await match(password, hashed)
        if changes:
            await changes.pop()
        return matched

    monkeypatch.setattr(passwords, "match", slow_match)


async def test_second_factor_turned_on_during_a_login_is_asked_for(
    client: Client, db: "asyncpg.Connection", monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await client.sign_up()
    during_the_match(client, monkeypatch, turn_on(owner))
    await begin_login(client, owner.user["email"])
    assert await db.fetchval(LIVE) == 1


@pytest.mark.parametrize("owned", [True, False])
async def test_account_disabled_during_a_login_is_refused_as_disabled(
    client: Client, ada: Owner, monkeypatch: pytest.MonkeyPatch, owned: bool
) -> None:
    bob = await client.sign_up()
    owner = ada if owned else Owner(bob, ada.app)
    during_the_match(client, monkeypatch, set_active(owner, False))
    refused(await client.login(owner.email), 403, "Account disabled")


async def test_second_factor_turned_off_during_a_login_is_not_asked_for(
    client: Client, ada: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    during_the_match(client, monkeypatch, turn_off(ada))
    assert (await client.login(ada.email)).status == 200


async def test_password_changed_during_a_login_is_a_wrong_one(
    client: Client, ada: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    during_the_match(client, monkeypatch, change_password(ada))
    refused(await client.login(ada.email), 401, "Invalid credentials")
