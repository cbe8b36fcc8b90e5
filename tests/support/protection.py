"""Accounts with more than a password, for tests."""

from datetime import datetime
from uuid import UUID

import asyncpg

from service.ids import new_id
from service.testing.client import Client


async def give_key(
    db: asyncpg.Connection,
    client: Client,
    name: str = "backup",
    *,
    expires_at: datetime | None = None,
) -> UUID:
    """Give a client's account an API key that nobody knows, and return the key's id."""
    key_id, random = new_id(), new_id()
    await db.execute(
        "INSERT INTO api_keys (id, user_id, name, scopes, hint, lookup, digest, created_at, "
        "expires_at) VALUES ($1, $2, $3, '{account:read}', 'svc_…abcd', $4, $5, now(), $6)",
        key_id,
        UUID(client.user["id"]),
        name,
        random,
        random.bytes * 2,
        expires_at,
    )
    return key_id


async def make_key(client: Client, *scopes: str) -> str:
    """Make an API key in a client's session, which is fresh, and return the key itself."""
    answer = await client.post("/auth/keys", {"name": "program", "scopes": list(scopes)})
    assert answer.status == 201, answer.body
    key: str = answer.json["key"]
    return key


async def freshen(db: asyncpg.Connection, client: Client) -> None:
    """Make the sessions of a client's account fresh, as a step-up does."""
    await db.execute(
        "UPDATE sessions SET authenticated_at = now() + interval '1 day' WHERE user_id = $1",
        UUID(client.user["id"]),
    )
