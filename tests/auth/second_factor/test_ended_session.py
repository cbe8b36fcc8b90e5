"""What a session asked for that ended while its request waited for the account."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from service.auth.errors import SessionGone
from service.auth.security import find_security
from service.testing.application import in_this_loop
from service.testing.client import PASSWORD
from service.testing.clock import Clock
from tests.support.client import Client, refused
from tests.support.passkeys import add_passkey, authenticator_for, creation_options
from tests.support.polling import until
from tests.support.second_factor import another_session, begin, is_on, owner_of, try_code, turn_on

NEW_PASSWORD = "an entirely different staple"
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
STATE = """
    SELECT sign_in_epoch, second_factor_at, password_hash, deleted_at,
        (SELECT string_agg(digest::text, ',' ORDER BY digest) FROM recovery_codes),
        (SELECT count(*) FROM totp_setups), (SELECT count(*) FROM totps),
        (SELECT count(*) FROM passkeys), (SELECT count(*) FROM security_events)
    FROM users
"""
CHANGES = {
    "begin a set-up": ("POST", "/auth/totp", None),
    "remove the app": ("DELETE", "/auth/totp", None),
    "turn on": ("PUT", "/auth/second-factor", None),
    "turn off": ("DELETE", "/auth/second-factor", None),
    "new recovery codes": ("POST", "/auth/second-factor/recovery-codes", None),
    "change the password": (
        "PUT", "/auth/password", {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    ),
    "delete the account": ("DELETE", "/auth/me", {"password": PASSWORD}),
}  # fmt: skip


async def waiting(db: "asyncpg.Connection", number: int = 1) -> bool:
    """Whether so many requests wait for a lock."""
    # In a transaction, what was looked at once stays as it was.
    await db.execute("SELECT pg_stat_clear_snapshot()")
    value: int = await db.fetchval(WAITING)
    return value >= number


@asynccontextmanager
async def ended_meanwhile(db: "asyncpg.Connection") -> AsyncIterator[None]:
    """Hold the account until the block's request waits for it, and end its sessions."""
    transaction = db.transaction()
    await transaction.start()
    await db.execute("SELECT FROM users FOR NO KEY UPDATE")
    yield
    await until(lambda: waiting(db))
    await db.execute("UPDATE sessions SET ended_at = now()")
    await transaction.commit()


@pytest.mark.parametrize(("method", "path", "body"), CHANGES.values(), ids=CHANGES)
async def test_session_that_ended_while_it_waited_changes_nothing(
    client: Client, db: "asyncpg.Connection", method: str, path: str, body: object
) -> None:
    one = await owner_of(client)
    await turn_on(one)
    before = await db.fetchrow(STATE)
    async with ended_meanwhile(db):
        request = asyncio.create_task(one.request(method, path, json=body))
    refused(await request, 401)
    assert await db.fetchrow(STATE) == before


async def test_session_that_ended_while_it_waited_removes_and_adds_no_passkey(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await owner_of(client)
    passkey = await add_passkey(one)
    before = await db.fetchval("SELECT sign_in_epoch FROM users")
    async with ended_meanwhile(db):
        removal = asyncio.create_task(one.delete(f"/auth/passkeys/{passkey['id']}"))
    refused(await removal, 401)
    assert (await one.login(one.user["email"])).status == 200
    credential = authenticator_for(one).create(await creation_options(one))
    async with ended_meanwhile(db):
        addition = asyncio.create_task(one.post("/auth/passkeys", {"credential": credential}))
    refused(await addition, 401)
    assert await db.fetchval("SELECT count(*) FROM passkeys") == 1
    assert await db.fetchval("SELECT sign_in_epoch FROM users") == before


@pytest.mark.parametrize("how", ["ended", "expired", "removed"])
async def test_what_protects_an_account_is_not_found_by_a_session_that_is_over(
    client: Client, db: "asyncpg.Connection", clock: Clock, how: str
) -> None:
    await owner_of(client)
    session_id: UUID = await db.fetchval("SELECT id FROM sessions")
    match how:
        case "ended":
            await db.execute("UPDATE sessions SET ended_at = now()")
        case "expired":
            clock.advance(timedelta(days=400).total_seconds())
        case _:
            await db.execute("DELETE FROM sessions")
    async with in_this_loop(client.app) as app, app.database.transaction() as session:
        with pytest.raises(SessionGone):
            await find_security(session, session_id)


async def test_confirmation_beside_the_end_of_all_sessions_is_no_deadlock(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await owner_of(client)
    await another_session(one)
    last = await another_session(one)
    app = await begin(last)
    rows = await db.fetch("SELECT id FROM sessions ORDER BY created_at, id")
    async with db.transaction():
        await db.execute("SELECT FROM sessions WHERE id = $1 FOR UPDATE", rows[1]["id"])
        end = asyncio.create_task(one.delete("/auth/sessions"))
        await until(lambda: waiting(db, 1))
        confirmation = asyncio.create_task(try_code(last, app.code()))
        await until(lambda: waiting(db, 2))
    assert (await end).status == 204
    refused(await confirmation, 401)
    assert await db.fetchval("SELECT count(*) FROM totps") == 0


async def test_turning_off_a_second_factor_that_is_off_ends_the_setup_that_waits(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await owner_of(client)
    app = await begin(one)
    assert (await one.delete("/auth/second-factor")).status == 204
    assert await db.fetchval("SELECT count(*) FROM totp_setups") == 0
    assert (await try_code(one, app.code())).status == 400
    assert not await is_on(one)
