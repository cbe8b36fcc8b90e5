"""The first code of an authenticator app: what it turns on, and what it does not confirm."""

from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from service.auth.second_factor.totp import make_code
from service.settings import Settings
from service.testing.client import PASSWORD
from service.testing.clock import Clock
from service.worker import handlers
from tests.support.client import Client, faults, refused
from tests.support.second_factor import (
    CONFIRM,
    another_session,
    begin,
    beside,
    confirm,
    is_on,
    owner_of,
    try_code,
    turn_on,
    verify_email,
)

SETUPS = "SELECT count(*) FROM totp_setups"
WRONG = {"code": ["This field is wrong"]}
NOTHING = {"code": ["This field confirms nothing: begin the set-up again"]}


async def test_new_setup_takes_the_place_of_one_that_waits(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await owner_of(client)
    first = await begin(one)
    for _ in range(4):
        assert (await try_code(one, first.wrong_code())).json["errors"] == WRONG
    second = await begin(one)
    assert await db.fetchval(SETUPS) == 1
    # Its failures are its own.
    for _ in range(4):
        assert (await try_code(one, first.code())).json["errors"] == WRONG
    assert (await try_code(one, second.code())).status == 200


async def test_confirmation_turns_the_second_factor_on(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await owner_of(client)
    epoch = await db.fetchval("SELECT sign_in_epoch FROM users")
    authenticator = await begin(one)
    answer = await try_code(one, authenticator.code())
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert set(answer.json) == {"recovery_codes"}
    assert len(answer.json["recovery_codes"]) == 10
    security = (await one.get("/auth/security")).json
    assert security["second_factor"] is True
    assert security["recovery_codes"] == 10
    assert security["totp"]["last_used_at"] is None
    assert await db.fetchval("SELECT sign_in_epoch FROM users") == epoch + 1
    rows = await db.fetch("SELECT kind, detail::text FROM security_events ORDER BY created_at, id")
    kinds = [row["kind"] for row in rows][2:]
    assert kinds == ["second_factor.enabled", "recovery_codes.created"]
    assert not any(code in str(rows) for code in answer.json["recovery_codes"])


async def test_turning_it_on_ends_all_other_sessions_at_once_in_every_process(
    client: Client, settings: Settings
) -> None:
    one = await owner_of(client)
    others = [await another_session(one) for _ in range(2)]
    stranger = await client.sign_up()
    async with beside(settings) as app:
        elsewhere = [Client(app, other.token) for other in others]
        for other in (*others, *elsewhere):
            assert (await other.get("/auth/me")).status == 200
        await confirm(one, await begin(one))
        for other in (*others, *elsewhere):
            assert (await other.get("/auth/me")).status == 401
        refresh = await others[0].post("/auth/refresh", token=others[0].refresh_token)
        assert refresh.status == 401
    assert (await one.get("/auth/me")).status == 200
    assert (await one.post("/auth/refresh", token=one.refresh_token)).status == 200
    assert (await stranger.get("/auth/me")).status == 200


async def test_confirmation_is_a_step_up_of_its_session(client: Client, clock: Clock) -> None:
    one = await owner_of(client)
    clock.advance(890)
    authenticator = await begin(one)
    clock.advance(500)
    assert (await one.get("/auth/security")).json["fresh_until"] is None
    await confirm(one, authenticator)
    [session] = (await one.get("/auth/sessions")).json["sessions"]
    assert session["methods"] == ["password", "totp"]
    assert session["authenticated_at"] > session["created_at"]
    clock.advance(890)
    assert (await one.get("/auth/security")).json["fresh_until"] is not None
    await confirm(one, await begin(one))
    [session] = (await one.get("/auth/sessions")).json["sessions"]
    assert session["methods"] == ["password", "totp"]


async def test_code_that_confirmed_is_spent(client: Client, db: "asyncpg.Connection") -> None:
    one = await owner_of(client)
    authenticator = await begin(one)
    code = authenticator.code(1)  # the next step's, which is within the tolerance
    assert (await try_code(one, code)).status == 200
    last_step = await db.fetchval("SELECT last_step FROM totps")
    assert make_code(authenticator.secret, last_step) == code


async def test_app_in_use_stays_in_force_until_another_is_confirmed(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await owner_of(client)
    old = await turn_on(one)
    other = await another_session_past_the_factor(one, db)
    [before] = await db.fetch("SELECT * FROM totps")
    new = await begin(one)
    assert await db.fetch("SELECT * FROM totps") == [before]
    assert (await try_code(one, old.code())).json["errors"] == WRONG
    epoch = await db.fetchval("SELECT sign_in_epoch FROM users")
    answer = await try_code(one, new.code())
    assert (answer.status, answer.json) == (200, {"recovery_codes": []})
    [after] = await db.fetch("SELECT * FROM totps")
    assert after["secret"] != before["secret"]
    assert after["created_at"] > before["created_at"]
    assert await db.fetchval("SELECT sign_in_epoch FROM users") == epoch + 1
    security = (await one.get("/auth/security")).json
    assert (security["second_factor"], security["recovery_codes"]) == (True, 10)
    assert (await other.get("/auth/me")).status == 200


async def another_session_past_the_factor(one: Client, db: "asyncpg.Connection") -> Client:
    """A further session of an account whose second factor is on."""
    at = await db.fetchval("UPDATE users SET second_factor_at = NULL RETURNING now()")
    other = await another_session(one)
    await db.execute("UPDATE users SET second_factor_at = $1", at)
    return other


async def test_app_that_is_replaced_takes_the_lock_of_its_codes_along(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await owner_of(client)
    await turn_on(one)
    await db.execute(
        "INSERT INTO code_locks (user_id, failures, locked_until) "
        "SELECT id, 9, now() + interval '1 day' FROM users"
    )
    await turn_on(one)
    assert await db.fetchval("SELECT count(*) FROM code_locks") == 0


async def test_session_that_did_not_ask_confirms_nothing(client: Client) -> None:
    one = await owner_of(client)
    authenticator = await begin(one)
    other = await another_session(one)
    stranger = await owner_of(client)
    for another in (other, stranger):
        for code in [authenticator.code(), *[authenticator.wrong_code()] * 5]:
            answer = await try_code(another, code)
            assert (answer.status, answer.json["errors"]) == (400, NOTHING)
    # Nor does it count.
    assert (await try_code(one, authenticator.code())).status == 200


async def test_confirmation_without_a_setup_is_refused(client: Client) -> None:
    one = await owner_of(client)
    assert refused(await try_code(one, "123456"), 400)["errors"] == NOTHING
    authenticator = await turn_on(one)
    assert refused(await try_code(one, authenticator.code()), 400)["errors"] == NOTHING


async def test_setup_waits_ten_minutes(
    client: Client, clock: Clock, db: "asyncpg.Connection"
) -> None:
    one, late = await owner_of(client), await owner_of(client)
    clock.advance(1)
    in_time, too_late = await begin(one), await begin(late)
    clock.advance(590)
    assert (await try_code(one, in_time.code())).status == 200
    clock.advance(11)
    assert refused(await try_code(late, too_late.code()), 400)["errors"] == NOTHING
    assert not await is_on(late)
    await begin(await owner_of(client))
    cleanup = handlers.cleanups(client.app.settings)["authenticator set-ups"]
    async with client.app.database.transaction() as session:
        assert await cleanup(session, clock.now()) == 1
    assert await db.fetchval(SETUPS) == 1


async def test_fifth_wrong_code_ends_the_setup(client: Client, db: "asyncpg.Connection") -> None:
    one, other = await owner_of(client), await owner_of(client)
    careful, careless = await begin(one), await begin(other)
    for _ in range(4):
        assert refused(await try_code(one, careful.wrong_code()), 400)["errors"] == WRONG
    assert (await try_code(one, careful.code())).status == 200
    for _ in range(5):
        assert refused(await try_code(other, careless.wrong_code()), 400)["errors"] == WRONG
    assert await db.fetchval(SETUPS) == 0
    assert refused(await try_code(other, careless.code()), 400)["errors"] == NOTHING
    assert not await is_on(other)


MALFORMED = (
    "²²²²²²", "\uff11\uff12\uff13\uff14\uff15\uff16", "١٢٣٤٥٦", "12345", "1234567", "12345a",
    "", "-12345", 123456, None,
)  # fmt: skip


async def test_malformed_code_is_refused_and_not_counted(client: Client) -> None:
    one = await owner_of(client)
    authenticator = await begin(one)
    for code in MALFORMED:
        assert faults(await try_code(one, code)) == {"code"}
    assert faults(await one.post(CONFIRM, {})) == {"code"}
    assert (await try_code(one, authenticator.code())).status == 200


async def test_spaces_in_a_code_do_not_matter(client: Client) -> None:
    one = await owner_of(client)
    code = (await begin(one)).code()
    assert (await try_code(one, f" {code[:3]} {code[3:]} ")).status == 200


Change = Callable[[Client, asyncpg.Connection], Awaitable[Any]]


async def change_password(one: Client, _db: object) -> None:
    body = {"current_password": PASSWORD, "new_password": "a quite different passphrase"}
    assert (await one.put("/auth/password", body)).status == 204


async def change_email(one: Client, _db: object) -> None:
    answer = await one.patch("/auth/me", {"email": f"new.{one.user['email']}"})
    assert answer.status == 200
    await verify_email(one)


async def disable_and_enable(one: Client, db: "asyncpg.Connection") -> None:
    operator = await one.as_admin()
    for active in (False, True):
        path = f"/admin/users/{one.user['id']}"
        assert (await operator.patch(path, {"is_active": active})).status == 200
    # Disabling ended the session.
    await db.execute("UPDATE sessions SET ended_at = NULL WHERE user_id = $1", one.user["id"])


async def turn_off(one: Client, db: "asyncpg.Connection") -> None:
    await db.execute("UPDATE users SET second_factor_at = now()")
    assert (await one.delete("/auth/second-factor")).status == 204


@pytest.mark.parametrize("change", [change_password, change_email, disable_and_enable, turn_off])
async def test_change_of_the_account_ends_a_setup_that_waits(
    client: Client, db: "asyncpg.Connection", change: Change
) -> None:
    one = await owner_of(client)
    authenticator = await begin(one)
    await change(one, db)
    assert refused(await try_code(one, authenticator.code()), 400)["errors"] == NOTHING
    assert not await is_on(one)
    assert (await try_code(one, (await begin(one)).code())).status == 200


async def test_session_that_has_ended_confirms_nothing(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await owner_of(client)
    authenticator = await begin(one)
    assert (await one.post("/auth/logout")).status == 204
    refused(await try_code(one, authenticator.code()), 401)
    assert await db.fetchval("SELECT count(*) FROM totps") == 0


async def test_secret_that_cannot_be_decrypted_is_unavailable_and_changes_nothing(
    client: Client, settings: Settings, db: "asyncpg.Connection"
) -> None:
    one = await owner_of(client)
    await turn_on(one)
    waiting = await begin(one)
    key = b64encode(bytes(32)).decode()
    async with beside(settings, encryption_keys=key) as app:
        there = Client(app, one.token)
        for _ in range(6):
            answer = await try_code(there, waiting.code())
            assert answer.status == 503
            assert "Retry-After" in answer.headers
        assert await is_on(there)
    assert await db.fetchval("SELECT failures FROM totp_setups") == 0
    assert (await try_code(one, waiting.code())).status == 200
