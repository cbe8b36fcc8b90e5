"""Secrets are rewritten under the first key while the service runs, and no change is lost."""

import asyncio
import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from uuid import UUID

import asyncpg
import pytest

from service.auth.encryption import reencryption
from service.auth.encryption.encryption import Encryption
from service.auth.encryption.reencryption import TABLES, Batch, reencrypt_table
from service.auth.second_factor.models import Totp
from service.db.database import Database
from service.testing.application import make_settings
from tests.support.stored_secrets import (
    NEW,
    OLD,
    Connection,
    add_accounts,
    add_setups,
    add_totps,
    encryption,
    encryption_keys,
    secrets_of,
)


async def reencrypt(database: Database, by: Encryption) -> list[Batch]:
    """One pass over all tables; the batches that it took."""
    return [batch for table in TABLES async for batch in reencrypt_table(database, by, table)]


def unchanged(accounts: list[UUID]) -> dict[UUID, bytes]:
    return {account: account.bytes for account in accounts}


async def test_secrets_of_other_keys_are_rewritten_in_batches(
    database: Database, db: "asyncpg.Connection", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencryption, "BATCH", 10)
    accounts = await add_accounts(db, 25)
    await add_totps(db, encryption(OLD), accounts[:15])
    await add_totps(db, encryption(NEW), accounts[15:])
    await add_setups(db, encryption(OLD), accounts[:3])
    taken = await reencrypt(database, encryption(NEW, OLD))
    assert [batch.read for batch in taken] == [3, 10, 10, 5]
    assert sum(batch.rewritten for batch in taken) == 3 + 15
    assert await secrets_of(db, encryption(NEW)) == unchanged(accounts)
    assert await secrets_of(db, encryption(NEW), "totp_setups") == unchanged(accounts[:3])
    assert sum(batch.rewritten for batch in await reencrypt(database, encryption(NEW, OLD))) == 0


async def test_rewriting_changes_nothing_of_a_row_but_its_secret(
    database: Database, db: "asyncpg.Connection"
) -> None:
    await add_totps(db, encryption(OLD), await add_accounts(db, 1))
    query = "SELECT user_id, created_at, last_used_at, last_step FROM totps"
    before = await db.fetch(query)
    await reencrypt(database, encryption(NEW, OLD))
    assert await db.fetch(query) == before


async def test_rows_that_cannot_be_read_are_left_as_they_are(
    database: Database, db: "asyncpg.Connection"
) -> None:
    accounts = await add_accounts(db, 3)
    other = bytes(range(64, 96))
    await add_totps(db, encryption(other), accounts[:1])
    await add_totps(db, encryption(OLD), accounts[1:])
    copied = await db.fetchval("SELECT secret FROM totps WHERE user_id = $1", accounts[1])
    await db.execute("UPDATE totps SET secret = $2 WHERE user_id = $1", accounts[2], copied)
    taken = await reencrypt(database, encryption(NEW, OLD))
    assert [(batch.rewritten, batch.unreadable) for batch in taken] == [(1, 1)]
    key_id = "SELECT substr(secret, 1, 4) FROM totps WHERE user_id = $1"
    stored = [await db.fetchval(key_id, account) for account in accounts]
    assert stored == [encryption(key).key_ids[0] for key in (other, NEW, OLD)]


async def test_row_that_is_being_changed_is_passed_over_and_keeps_the_change(
    database: Database, db: "asyncpg.Connection"
) -> None:
    accounts = await add_accounts(db, 3)
    await add_totps(db, encryption(OLD), accounts)
    replaced = encryption(OLD).encrypt("totp", accounts[1], b"another app")
    async with db.transaction():
        await db.execute("UPDATE totps SET secret = $2 WHERE user_id = $1", accounts[1], replaced)
        # It waits for nobody.
        taken = await asyncio.wait_for(reencrypt(database, encryption(NEW, OLD)), 10)
    assert sum(batch.rewritten for batch in taken) == 2
    assert sum(batch.rewritten for batch in await reencrypt(database, encryption(NEW, OLD))) == 1
    expected = unchanged(accounts) | {accounts[1]: b"another app"}
    assert await secrets_of(db, encryption(NEW)) == expected


class Overtaken(Encryption):
    """Encryption during which another process replaces the secret of an account."""

    def __init__(self, url: str) -> None:
        super().__init__(make_settings(encryption_keys=encryption_keys(NEW, OLD)))
        self.url = url
        self.replacing: list[Future[dict[UUID, bytes]]] = []
        self.thread = ThreadPoolExecutor(1)

    def decrypt(self, purpose: str, user_id: UUID, stored: bytes) -> bytes:
        replacing = replace_secrets(self.url, [user_id], encryption(NEW, OLD))
        self.replacing.append(self.thread.submit(asyncio.run, replacing))
        # Time enough for it, unless it waits for the row.
        wait(self.replacing, 0.3)
        return super().decrypt(purpose, user_id, stored)


async def test_secret_that_is_replaced_between_the_read_and_the_write_is_the_new_one(
    database: Database, database_url: str, db: "asyncpg.Connection"
) -> None:
    await add_totps(db, encryption(OLD), await add_accounts(db, 1))
    by = Overtaken(database_url)
    await reencrypt(database, by)
    (replaced,) = [await asyncio.wrap_future(each) for each in by.replacing]
    by.thread.shutdown()
    assert await secrets_of(db, encryption(NEW)) == replaced


async def replace_secrets(url: str, accounts: list[UUID], by: Encryption) -> dict[UUID, bytes]:
    """Replace the secrets of these accounts, one after the other; what they are now."""
    connection: Connection = await asyncpg.connect(url)
    made = {}
    for account in accounts * 3:
        secret = os.urandom(20)
        await connection.execute(
            "UPDATE totps SET secret = $2 WHERE user_id = $1",
            account,
            by.encrypt("totp", account, secret),
        )
        made[account] = secret
    await connection.close()
    return made


async def test_no_change_is_lost_while_rows_are_rewritten(
    database: Database, database_url: str, db: "asyncpg.Connection", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencryption, "BATCH", 7)
    accounts = await add_accounts(db, 60)
    await add_totps(db, encryption(OLD), accounts)
    rewriting = [reencrypt(database, encryption(NEW, OLD)) for _ in range(6)]
    # Processes from before the rotation write with the old key, others with the new one.
    changing = [
        replace_secrets(database_url, accounts[:20], encryption(OLD)),
        replace_secrets(database_url, accounts[20:40], encryption(NEW, OLD)),
    ]
    made, _ = await asyncio.gather(asyncio.gather(*changing), asyncio.gather(*rewriting))
    await reencrypt(database, encryption(NEW, OLD))
    assert await secrets_of(db, encryption(NEW)) == unchanged(accounts) | made[0] | made[1]


async def test_accounts_are_deleted_while_rows_are_rewritten(
    database: Database, db: "asyncpg.Connection", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencryption, "BATCH", 20)
    accounts = await add_accounts(db, 200)
    await add_totps(db, encryption(OLD), accounts)
    # In one statement, in an order of its own: two that wait for one another would be a deadlock.
    deleting = db.execute("DELETE FROM users WHERE id = ANY ($1)", accounts[::-2])
    rewriting = [reencrypt(database, encryption(NEW, OLD)) for _ in range(3)]
    await asyncio.gather(deleting, *rewriting)
    assert await secrets_of(db, encryption(NEW)) == unchanged(accounts[::2])


def test_a_setup_is_rewritten_before_the_app_that_it_becomes() -> None:
    assert TABLES[-1] is Totp
