"""What a deleted account leaves behind of signing in: nothing, from the same transaction on."""

import asyncpg

from service.ids import new_id
from service.testing.client import PASSWORD
from tests.support.client import Client, refused
from tests.support.second_factor import begin, turn_on

TABLES = ("totps", "totp_setups", "recovery_codes", "code_locks", "login_tokens", "api_keys")


async def add_waiting_login_and_key(db: "asyncpg.Connection", user_id: str) -> None:
    await db.execute(
        "INSERT INTO code_locks (user_id, failures, locked_until) VALUES ($1, 1, now())", user_id
    )
    await db.execute(
        "INSERT INTO login_tokens (digest, user_id, methods, sign_in_epoch, expires_at) "
        "VALUES (uuid_send($1::uuid), $1, '{password}', 0, now())",
        user_id,
    )
    await db.execute(
        "INSERT INTO api_keys (id, user_id, name, scopes, hint, lookup, digest, created_at) "
        "VALUES ($1, $2, 'name', '{}', '', $1, '', now())",
        new_id(),
        user_id,
    )


async def rows(db: "asyncpg.Connection", user_id: str) -> dict[str, int]:
    """How many rows of an account each table has."""
    return {
        table: await db.fetchval(f"SELECT count(*) FROM {table} WHERE user_id = $1", user_id)
        for table in TABLES
    }


async def test_deleted_account_keeps_no_factor_login_or_key(
    client: Client, db: "asyncpg.Connection"
) -> None:
    gone, left = await client.sign_up(), await client.sign_up()
    for one in (gone, left):
        await turn_on(one)
        await begin(one)
        await add_waiting_login_and_key(db, one.user["id"])
    there = {**dict.fromkeys(TABLES, 1), "recovery_codes": 10}
    assert await rows(db, gone.user["id"]) == there
    refused(await gone.delete("/auth/me", {"password": "a wrong password"}), 403)
    assert await rows(db, gone.user["id"]) == there
    assert (await gone.delete("/auth/me", {"password": PASSWORD})).status == 204
    assert await rows(db, gone.user["id"]) == dict.fromkeys(TABLES, 0)
    assert await rows(db, left.user["id"]) == there
    deleted = "SELECT second_factor_at IS NULL FROM users WHERE id = $1 AND deleted_at IS NOT NULL"
    assert await db.fetchval(deleted, gone.user["id"])
