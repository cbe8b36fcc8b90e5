"""A change of one's account is judged by the account as it is when the body comes."""

import asyncpg
import pytest

from tests.support.client import Client
from tests.support.held import hold
from tests.support.protection import give_key
from tests.support.second_factor import verify_email


@pytest.fixture
async def mallory(client: Client) -> Client:
    """An account that registered an address of somebody else."""
    return await client.sign_up("victim@example.net")


async def test_held_change_proves_no_address(mallory: Client, db: asyncpg.Connection) -> None:
    held = await hold(mallory, "PATCH", "/auth/me")
    own = {"email": "mallory@example.com"}
    assert (await mallory.patch("/auth/me", own)).status == 200
    await verify_email(mallory)
    status, shown = await held.finish({"email": "VICTIM@example.net"})
    assert status == 200
    assert (shown["email"], shown["email_verified"]) == ("VICTIM@example.net", False)
    # The address that was proved is informed, and keeps the links that reset the password.
    assert await db.fetchval("SELECT verified_email FROM users") == "mallory@example.com"
    detail = await db.fetchval(
        "SELECT detail->>'from' FROM security_events WHERE kind = 'email.changed' "
        "ORDER BY created_at DESC LIMIT 1"
    )
    assert detail == "mallory@example.com"


async def test_held_change_of_an_account_that_is_protected_since_needs_a_fresh_session(
    mallory: Client, db: asyncpg.Connection
) -> None:
    held = await hold(mallory, "PATCH", "/auth/me")
    assert (await mallory.patch("/auth/me", {"email": "mallory@example.com"})).status == 200
    await give_key(db, mallory)
    await db.execute("UPDATE sessions SET created_at = created_at - interval '1 hour'")
    # Of the address that the headers found it is another spelling alone.
    status, refused = await held.finish({"email": "VICTIM@example.net"})
    assert (status, refused["reason"]) == (403, "step_up_required")


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ("UPDATE users SET deleted_at = now()", 401, "The session has ended"),
        ("UPDATE sessions SET ended_at = now()", 401, "The session has ended"),
        ("DELETE FROM sessions", 401, "The session has ended"),
        ("UPDATE users SET is_active = false", 403, "Account disabled"),
    ],
)
async def test_held_change_of_an_ended_session_changes_nothing(
    mallory: Client, db: asyncpg.Connection, change: str, status: int, message: str
) -> None:
    held = await hold(mallory, "PATCH", "/auth/me")
    await db.execute(change)
    answered, body = await held.finish({"email": "thief@example.net"})
    assert (answered, body["message"]) == (status, message)
    assert await db.fetchval("SELECT email FROM users") == "victim@example.net"


async def test_held_change_of_the_username_of_a_deleted_account_is_refused(
    mallory: Client, db: asyncpg.Connection
) -> None:
    held = await hold(mallory, "PATCH", "/auth/me")
    await db.execute("UPDATE users SET deleted_at = now()")
    status, body = await held.finish({"username": "somebody"})
    assert (status, body["message"]) == (401, "The session has ended")
