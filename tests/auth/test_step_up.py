"""POST /auth/step-up."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from service import clock as service_clock
from service.auth.passwords import Passwords
from service.settings import Settings
from service.testing.application import make_settings, running
from service.testing.client import PASSWORD
from service.testing.clock import Clock
from tests.support.client import Client, faults, refused
from tests.support.second_factor import turn_on
from tests.support.sign_in import as_client, refused_for, sign_in

ROUTE = "/auth/step-up"


async def session_of(client: Client) -> dict[str, Any]:
    """The caller's own session, as it is listed."""
    sessions = (await client.get("/auth/sessions")).json["sessions"]
    found: dict[str, Any] = next(one for one in sessions if one["current"])
    return found


async def is_fresh(client: Client) -> bool:
    """Whether the session is fresh; what is not says how it steps up."""
    answer = await client.delete("/auth/totp")
    assert answer.status in {204, 403}
    if answer.status == 403:
        refused_for(answer, 403, "step_up_required")
    return bool(answer.status == 204)


async def test_password_makes_the_caller_s_session_fresh_and_no_other(
    client: Client, clock: Clock, db: "asyncpg.Connection"
) -> None:
    ada = await client.sign_up()
    other = await client.as_user(ada.user["email"])
    clock.advance(901)
    assert not await is_fresh(ada)
    answer = await ada.post(ROUTE, {"password": PASSWORD})
    assert answer.status == 200
    assert set(answer.json) == {"fresh_until"}
    until = datetime.fromisoformat(answer.json["fresh_until"])
    assert timedelta(seconds=890) < until - service_clock.now() <= timedelta(seconds=900)
    assert await is_fresh(ada)
    assert not await is_fresh(other)
    stepped_up = await session_of(ada)
    assert stepped_up["methods"] == ["password"]
    assert stepped_up["authenticated_at"] > stepped_up["created_at"]
    row = await db.fetch(
        "SELECT detail->>'session_id', detail->>'method', user_id = actor_id "
        "FROM security_events WHERE kind = 'session.stepped_up'"
    )
    assert [tuple(one) for one in row] == [(stepped_up["id"], "password", True)]


async def test_step_up_lasts_for_step_up_max_age(client: Client, clock: Clock) -> None:
    ada = await client.sign_up()
    clock.advance(901)
    await ada.post(ROUTE, {"password": PASSWORD})
    clock.advance(890)
    assert await is_fresh(ada)
    clock.advance(11)
    assert not await is_fresh(ada)


async def test_refresh_makes_nothing_fresh(client: Client, clock: Clock) -> None:
    ada = await client.sign_up()
    clock.advance(901)
    refreshed = await ada.post("/auth/refresh", token=ada.refresh_token)
    assert not await is_fresh(Client(client.app, refreshed.json["access_token"]))


async def test_wrong_password_steps_nothing_up(client: Client, clock: Clock) -> None:
    ada = await client.sign_up()
    clock.advance(901)
    refused(await ada.post(ROUTE, {"password": "wrong password"}), 403, "The password is wrong")
    assert not await is_fresh(ada)


async def test_code_adds_its_method_to_the_session_once(client: Client, clock: Clock) -> None:
    ada = await client.sign_up()
    app = await turn_on(ada)
    opened = as_client(
        client, await sign_in(client, ada.user["email"], recovery_code=app.recovery_codes[0])
    )
    clock.advance(901)
    for steps in (0, 1):
        assert (await opened.post(ROUTE, {"code": app.code(steps)})).status == 200
    assert (await session_of(opened))["methods"] == ["password", "recovery_code", "totp"]


async def test_recovery_code_steps_up_and_is_spent(client: Client, clock: Clock) -> None:
    ada = await client.sign_up()
    code = (await turn_on(ada)).recovery_codes[0]
    clock.advance(901)
    assert (await ada.post(ROUTE, {"recovery_code": code})).status == 200
    assert (await session_of(ada))["methods"] == ["password", "totp", "recovery_code"]
    refused_for(await ada.post(ROUTE, {"recovery_code": code}), 403, "second_factor_failed")
    assert await is_fresh(ada)


async def test_password_is_not_enough_while_the_second_factor_is_on(
    client: Client, clock: Clock
) -> None:
    ada = await client.sign_up()
    await turn_on(ada)
    clock.advance(901)
    for password in (PASSWORD, "wrong password"):
        answer = await ada.post(ROUTE, {"password": password})
        body = refused_for(answer, 403, "second_factor_required")
        assert "login_token" not in body
    assert not await is_fresh(ada)


async def test_code_steps_nothing_up_while_the_second_factor_is_off(
    client: Client, db: "asyncpg.Connection"
) -> None:
    ada = await client.sign_up()
    for body in ({"code": "123456"}, {"recovery_code": "0" * 16}):
        refused_for(await ada.post(ROUTE, body), 403, "second_factor_failed")
    assert await db.fetchval("SELECT count(*) FROM code_locks") == 0


async def test_wrong_codes_at_step_ups_and_at_logins_lock_codes_together(
    client: Client, clock: Clock, db: "asyncpg.Connection"
) -> None:
    ada = await client.sign_up()
    app = await turn_on(ada)
    for _ in range(2):
        await sign_in(client, ada.user["email"], code=app.wrong_code())
    for _ in range(3):
        wrong = await ada.post(ROUTE, {"code": app.wrong_code()})
        refused_for(wrong, 403, "second_factor_failed")
    locked = await ada.post(ROUTE, {"code": app.code()})
    refused_for(locked, 429, "second_factor_locked")
    assert 0 < int(locked.headers["Retry-After"]) <= 60
    actors = "SELECT actor_id FROM security_events WHERE kind = 'second_factor.locked'"
    assert str(await db.fetchval(actors)) == ada.user["id"]
    recovered = await ada.post(ROUTE, {"recovery_code": app.recovery_codes[0]})
    assert recovered.status == 200
    clock.advance(61)
    assert (await ada.post(ROUTE, {"code": app.code()})).status == 200
    assert await db.fetchval("SELECT count(*) FROM code_locks") == 0


async def test_spent_code_steps_nothing_up_and_is_not_counted(
    client: Client, db: "asyncpg.Connection"
) -> None:
    ada = await client.sign_up()
    app = await turn_on(ada)
    code = app.code()
    assert (await ada.post(ROUTE, {"code": code})).status == 200
    refused_for(await ada.post(ROUTE, {"code": code}), 403, "second_factor_failed")
    refused_for(await sign_in(client, ada.user["email"], code=code), 401, "second_factor_failed")
    assert await db.fetchval("SELECT count(*) FROM code_locks") == 0


async def test_secret_that_cannot_be_decrypted_steps_nothing_up(
    client: Client, db: "asyncpg.Connection"
) -> None:
    ada = await client.sign_up()
    app = await turn_on(ada)
    await db.execute("UPDATE totps SET secret = 'of another key'")
    assert (await ada.post(ROUTE, {"code": app.code()})).status == 503
    refused_for(await ada.post(ROUTE, {"password": PASSWORD}), 403, "second_factor_required")
    assert (await ada.post(ROUTE, {"recovery_code": app.recovery_codes[0]})).status == 200


FORMS: list[tuple[Any, set[str]]] = [
    ({}, {"password", "code", "recovery_code", "passkey"}),
    ({"password": PASSWORD, "code": "123456"}, {"password", "code"}),
    ({"code": "123456", "recovery_code": "0" * 16}, {"code", "recovery_code"}),
    ({"password": ""}, {"password"}),
    ({"password": None}, {"password"}),
    ({"password": "x" * 1025}, {"password"}),
    ({"code": "abcdef"}, {"code"}),
    ({"recovery_code": "short"}, {"recovery_code"}),
]


@pytest.mark.parametrize(("body", "named"), FORMS)
async def test_malformed_proof_of_a_step_up_is_named(
    member: Client, body: Any, named: set[str]
) -> None:
    assert faults(await member.post(ROUTE, body)) == named


async def test_step_up_needs_a_login(anyone: Client) -> None:
    refused(await anyone.post(ROUTE, {"password": PASSWORD}, token=""), 401)


async def test_step_up_by_cookie_needs_the_csrf_token(client: Client) -> None:
    ada = await client.sign_up()
    headers = {"Cookie": f"access_token={ada.token}"}
    answer = await client.post(ROUTE, {"password": PASSWORD}, headers=headers)
    refused(answer, 403, "CSRF token missing or wrong")


async def test_session_that_ended_steps_up_no_more(client: Client) -> None:
    ada = await client.sign_up()
    other = await client.as_user(ada.user["email"])
    assert (await other.delete("/auth/sessions")).status == 204
    refused(await ada.post(ROUTE, {"password": PASSWORD}), 401)


async def test_password_changed_during_a_step_up_is_a_wrong_one(
    client: Client, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await client.sign_up()
    passwords = client.app.component(Passwords)
    verify = passwords.verify
    new = "an entirely different staple"

    async def slow_verify(password: str, hashed: str | None) -> bool:
        right = await verify(password, hashed)
        monkeypatch.setattr(passwords, "verify", verify)
        body = {"current_password": PASSWORD, "new_password": new}
        assert (await ada.put("/auth/password", body)).status == 204
        return right

    clock.advance(901)
    monkeypatch.setattr(passwords, "verify", slow_verify)
    refused(await ada.post(ROUTE, {"password": PASSWORD}), 403, "The password is wrong")
    assert not await is_fresh(ada)
    assert (await ada.post(ROUTE, {"password": new})).status == 200


async def test_sixty_wrong_codes_at_once_in_two_processes_are_judged_five_times(
    client: Client, settings: Settings, db: "asyncpg.Connection"
) -> None:
    ada = await client.sign_up()
    app = await turn_on(ada)
    async with running(settings) as second:
        clients = (ada, Client(second, ada.token))
        body = {"code": app.wrong_code()}
        answers = await asyncio.gather(
            *(clients[number % 2].post(ROUTE, body) for number in range(60))
        )
    assert Counter(answer.status for answer in answers) == {403: 5, 429: 55}
    assert await db.fetchval("SELECT failures FROM code_locks") == 5


class TestLimits:
    """With limits on."""

    @pytest.fixture
    def settings(self, database_url: str) -> Settings:
        return make_settings(
            database_url=database_url,
            ratelimit_enabled=True,
            ratelimit_login_account="3/hour",
            ratelimit_login="1000/hour",
            ratelimit_second_factor="8/hour",
        )

    async def test_wrong_passwords_at_step_ups_count_as_failed_logins(self, client: Client) -> None:
        ada = await client.sign_up()
        for _ in range(3):
            assert (await ada.post(ROUTE, {"password": PASSWORD})).status == 200
        for _ in range(3):
            refused(await ada.post(ROUTE, {"password": "wrong password"}), 403)
        refused(await ada.post(ROUTE, {"password": PASSWORD}), 429)
        refused(await client.login(ada.user["email"]), 429)

    async def test_second_factor_limit_counts_step_ups_and_logins_by_address(
        self, client: Client
    ) -> None:
        ada, bob = await client.sign_up(), await client.sign_up()
        for _ in range(4):
            assert (await ada.post(ROUTE, {"password": PASSWORD})).status == 200
        for _ in range(3):
            body = {"login_token": "unknown", "code": "123456"}
            refused_for(await client.post("/auth/login/second-factor", body), 401, "login_expired")
        last = await bob.post(ROUTE, {"password": PASSWORD})
        assert (last.status, last.headers["RateLimit-Limit"]) == (200, "8")
        refused(await bob.post(ROUTE, {"password": PASSWORD}), 429)

    async def test_login_that_waits_for_a_factor_takes_its_hit_back(self, client: Client) -> None:
        ada = await client.sign_up()
        app = await turn_on(ada)
        for _ in range(4):
            wrong = await sign_in(client, ada.user["email"], code=app.wrong_code())
            refused_for(wrong, 401, "second_factor_failed")
        assert (await sign_in(client, ada.user["email"], code=app.code())).status == 200
