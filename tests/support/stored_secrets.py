"""Secrets of authenticator apps, written as the service stores them."""

from base64 import b64encode
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias
from uuid import UUID

import asyncpg

from service import clock
from service.auth.encryption.encryption import Encryption
from service.testing.application import make_settings

OLD: Final = bytes(range(32))
NEW: Final = bytes(range(32, 64))
LIFE: Final = timedelta(minutes=10)

Connection: TypeAlias = "asyncpg.Connection[Any]"


def encryption_keys(*keys: bytes) -> str:
    """The setting ENCRYPTION_KEYS of these keys."""
    return ",".join(b64encode(key).decode() for key in keys)


def encryption(*keys: bytes, **settings: object) -> Encryption:
    """Encryption with these keys, or with the one of SECRET_KEY."""
    if keys:
        settings["encryption_keys"] = encryption_keys(*keys)
    return Encryption(make_settings(**settings))


async def add_accounts(db: Connection, number: int) -> list[UUID]:
    """Add accounts that nobody can sign in to."""
    rows = await db.fetch(
        "INSERT INTO users (id, email, username, email_key, username_key, password_hash)"
        " SELECT gen_random_uuid(), name || '@example.com', name, name || '@example.com', name, ''"
        " FROM (SELECT 'u' || gen_random_uuid() FROM generate_series(1, $1)) AS made(name)"
        " RETURNING id",
        number,
    )
    return [row["id"] for row in rows]


async def add_totps(db: Connection, by: Encryption, accounts: Iterable[UUID]) -> None:
    """Add an authenticator app to each account, whose secret is the account's id."""
    await db.executemany(
        "INSERT INTO totps (user_id, secret, created_at, last_step) VALUES ($1, $2, now(), 0)",
        [(account, by.encrypt("totp", account, account.bytes)) for account in accounts],
    )


async def add_setups(
    db: Connection, by: Encryption, accounts: Iterable[UUID], expires_at: datetime | None = None
) -> None:
    """Add an app that waits for its first code to each account."""
    await db.executemany(
        "INSERT INTO totp_setups (user_id, session_id, secret, sign_in_epoch, expires_at)"
        " VALUES ($1, gen_random_uuid(), $2, 0, $3)",
        [
            (account, by.encrypt("totp", account, account.bytes), expires_at or clock.now() + LIFE)
            for account in accounts
        ],
    )


async def secrets_of(db: Connection, by: Encryption, table: str = "totps") -> dict[UUID, bytes]:
    """The secrets in a table, decrypted, by account. Raises SecretUnreadable."""
    rows = await db.fetch(f"SELECT user_id, secret FROM {table}")
    return {row["user_id"]: by.decrypt("totp", row["user_id"], row["secret"]) for row in rows}
