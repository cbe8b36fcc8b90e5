"""Turning the second factor off and on again, new recovery codes, and what protects an account."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from service.auth import owners
from service.auth.second_factor.factors import forget_factors
from service.ids import new_id
from service.notices.notices import Notice
from service.testing.clock import Clock
from tests.support.browser import open_browser
from tests.support.client import Client, refused
from tests.support.second_factor import another_session, begin, is_on, owner_of, turn_on

CODES = "/auth/second-factor/recovery-codes"
# Every write that needs freshness, and what it answers where nothing is on.
WRITES = [
    ("DELETE", "/auth/totp", 204),
    ("PUT", "/auth/second-factor", 409),
    ("DELETE", "/auth/second-factor", 204),
    ("POST", CODES, 409),
]
PLAIN = {
    "password": True, "second_factor": False, "totp": None, "recovery_codes": 0, "passkeys": 0,
    "identities": 0, "keys": 0,
}  # fmt: skip


async def kinds(db: "asyncpg.Connection") -> list[str]:
    """What was recorded since the login of the only account."""
    rows = await db.fetch("SELECT kind FROM security_events ORDER BY created_at, id")
    return [row["kind"] for row in rows][2:]


async def epoch(db: "asyncpg.Connection") -> int:
    value: int = await db.fetchval("SELECT sign_in_epoch FROM users")
    return value


async def stored(db: "asyncpg.Connection") -> list[int]:
    """How many rows each table of the second factor has."""
    tables = ("totps", "totp_setups", "recovery_codes")
    return [await db.fetchval(f"SELECT count(*) FROM {table}") for table in tables]


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> list[Notice]:
    """The notices that owners are sent."""
    sent: list[Notice] = []

    async def send(_session: object, _user_id: UUID, email: str, notice: Notice, **_: str) -> None:
        assert email.endswith("@example.com")
        sent.append(notice)

    monkeypatch.setattr(owners, "send_notice", send)
    return sent


async def test_security_shows_an_account_with_a_password_alone(
    client: Client, clock: Clock
) -> None:
    one = await client.sign_up()
    answer = await one.get("/auth/security")
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    shown: dict[str, Any] = answer.json
    left = datetime.fromisoformat(shown.pop("fresh_until")) - clock.now()
    assert timedelta(seconds=870) < left <= timedelta(seconds=900)
    assert shown == PLAIN
    clock.advance(901)
    assert (await one.get("/auth/security")).json == {**PLAIN, "fresh_until": None}
    refused(await client.get("/auth/security"), 401)


async def test_security_counts_what_there_is_of_the_account_alone(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one, other = await client.sign_up(), await client.sign_up()
    await turn_on(one)
    for name, ends in (("endless", "NULL"), ("long", "'1 day'"), ("over", "'-1 day'")):
        await db.execute(
            "INSERT INTO api_keys (id, user_id, name, scopes, hint, lookup, digest, created_at, "
            f"expires_at) VALUES ($1, $2, $3, '{{}}', '', $1, '', now(), now() + {ends}::interval)",
            new_id(),
            one.user["id"],
            name,
        )
    await db.execute("UPDATE totps SET last_used_at = '2026-11-22T10:00:00Z'")
    shown = (await one.get("/auth/security")).json
    assert {shown.pop("fresh_until") is None, shown["totp"].pop("created_at") is None} == {False}
    totp = {"last_used_at": "2026-11-22T10:00:00.000000Z"}
    used = {"second_factor": True, "totp": totp, "recovery_codes": 10, "keys": 2}
    assert shown == {**PLAIN, **used}
    assert PLAIN.items() <= (await other.get("/auth/security")).json.items()


async def test_changes_of_the_second_factor_need_a_login_and_a_fresh_session(
    client: Client, clock: Clock, db: "asyncpg.Connection"
) -> None:
    plain, protected = await client.sign_up(), await client.sign_up()
    await turn_on(protected)
    before = await stored(db)
    clock.advance(901)
    for method, path, _ in WRITES:
        refused(await client.request(method, path), 401)
        for one, methods in ((plain, ["password"]), (protected, ["code", "recovery_code"])):
            answer = await one.request(method, path)
            assert (answer.status, answer.json["reason"]) == (403, "step_up_required")
            assert answer.json["methods"] == methods
    assert await stored(db) == before
    assert await is_on(protected)


async def test_cookie_changes_the_second_factor_with_the_csrf_token_alone(
    client: Client, db: "asyncpg.Connection"
) -> None:
    browser = await open_browser(client)
    await turn_on(browser)
    before = await stored(db)
    for method, path, _ in WRITES:
        refused(await browser.request(method, path, csrf=""), 403, "CSRF token missing or wrong")
    assert await stored(db) == before
    assert (await browser.post(CODES)).status == 201
    assert (await browser.delete("/auth/second-factor")).status == 204
    assert not await is_on(browser)


async def test_changes_where_nothing_is_on_change_nothing(
    client: Client, db: "asyncpg.Connection", notices: list[Notice]
) -> None:
    one = await client.sign_up()
    for method, path, status in WRITES:
        assert (await one.request(method, path)).status == status
    assert await stored(db) == [0, 0, 0]
    assert await epoch(db) == 0
    assert (await kinds(db), notices) == ([], [])


@pytest.mark.parametrize("path", ["/auth/totp", "/auth/second-factor"])
async def test_second_factor_is_turned_off_with_all_that_belongs_to_it(
    client: Client, db: "asyncpg.Connection", notices: list[Notice], path: str
) -> None:
    one = await client.sign_up()
    old = await turn_on(one)
    await begin(one)
    before = await epoch(db)
    await db.execute(
        "INSERT INTO code_locks (user_id, failures, locked_until) SELECT id, 3, now() FROM users"
    )
    for _ in range(2):
        answer = await one.delete(path)
        assert (answer.status, answer.body) == (204, b"")
    assert await stored(db) == [0, 0, 0]
    assert await db.fetchval("SELECT count(*) FROM code_locks") == 0
    assert await epoch(db) == before + 1
    assert not await is_on(one)
    on = ["second_factor.enabled", "recovery_codes.created"]
    assert await kinds(db) == [*on, "second_factor.disabled"]
    assert notices == [Notice.SECOND_FACTOR_ON, Notice.SECOND_FACTOR_OFF]
    # The session goes on, and turning it on again makes other codes.
    new = await turn_on(one)
    assert not set(new.recovery_codes) & set(old.recovery_codes)
    assert await kinds(db) == [*on, "second_factor.disabled", *on]


@pytest.mark.parametrize("path", ["/auth/totp", "/auth/second-factor"])
async def test_removing_an_app_that_waits_leaves_nothing(
    client: Client, db: "asyncpg.Connection", path: str
) -> None:
    one = await owner_of(client)
    await begin(one)
    assert await stored(db) == [0, 1, 0]
    assert (await one.delete(path)).status == 204
    assert await stored(db) == [0, 0, 0]
    assert await kinds(db) == []


async def test_turning_on_what_is_on_changes_nothing(
    client: Client, db: "asyncpg.Connection", notices: list[Notice]
) -> None:
    one = await client.sign_up()
    await turn_on(one)
    before = await epoch(db), await kinds(db), list(notices)
    answer = await one.put("/auth/second-factor")
    assert (answer.status, answer.json) == (200, {"recovery_codes": []})
    assert (await epoch(db), await kinds(db), notices) == before


async def test_turning_on_needs_a_factor_that_is_there(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await owner_of(client)
    await begin(one)
    message = "Set up an authenticator app or a passkey first"
    refused(await one.put("/auth/second-factor"), 409, message)
    await turn_on(one)
    await db.execute("UPDATE users SET second_factor_at = NULL")
    other = await another_session(one)
    answer = await one.put("/auth/second-factor")
    assert answer.status == 200
    assert len(answer.json["recovery_codes"]) == 10
    assert await is_on(one)
    assert (await other.get("/auth/me")).status == 401


async def test_new_recovery_codes_replace_the_old_ones(
    client: Client, db: "asyncpg.Connection", notices: list[Notice]
) -> None:
    one = await client.sign_up()
    old = (await turn_on(one)).recovery_codes
    before = await epoch(db)
    digests = {row["digest"] for row in await db.fetch("SELECT digest FROM recovery_codes")}
    answer = await one.post(CODES)
    assert answer.status == 201
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Location" not in answer.headers
    assert len(answer.json["recovery_codes"]) == 10
    assert not set(answer.json["recovery_codes"]) & set(old)
    left = {row["digest"] for row in await db.fetch("SELECT digest FROM recovery_codes")}
    assert len(left) == 10
    assert not left & digests
    # What waits for the account goes on.
    assert await epoch(db) == before
    assert (await kinds(db))[-2:] == ["recovery_codes.created"] * 2
    assert notices == [Notice.SECOND_FACTOR_ON, Notice.RECOVERY_CODES_MADE]


async def test_recovery_codes_are_refused_while_the_second_factor_is_off(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await client.sign_up()
    refused(await one.post(CODES), 409, "The second factor is off")
    assert await stored(db) == [0, 0, 0]


async def test_replaced_app_is_recorded_and_its_owner_informed(
    client: Client, db: "asyncpg.Connection", notices: list[Notice]
) -> None:
    one = await client.sign_up()
    await turn_on(one)
    await turn_on(one)
    assert (await kinds(db))[2:] == ["second_factor.enabled"]
    last = "SELECT detail FROM security_events ORDER BY created_at DESC, id DESC LIMIT 1"
    assert await db.fetchval(last) == '{"replaced": true}'
    assert notices == [Notice.SECOND_FACTOR_ON, Notice.AUTHENTICATOR_REPLACED]


async def test_factors_that_are_forgotten_leave_what_waits_worthless(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await client.sign_up()
    user_id = UUID(one.user["id"])
    await turn_on(one)
    await begin(one)
    before = await epoch(db)
    was_on = []
    for owner in (user_id, user_id, new_id()):
        async with client.app.database.transaction() as session:
            was_on.append(await forget_factors(session, owner))
    assert was_on == [True, False, False]
    assert await stored(db) == [0, 0, 0]
    assert await epoch(db) > before
    assert not await is_on(one)
