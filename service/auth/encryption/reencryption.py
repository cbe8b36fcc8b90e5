"""Re-encryption: stored secrets are rewritten under the first key, while the service runs.

A batch is a transaction of its own. It locks its rows and reads them then, so that no change that
is made meanwhile is overwritten, and it passes over rows that others have locked instead of waiting
for them, so that it takes part in no deadlock; another pass finds those.
"""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.auth.encryption.encryption import TOTP_SECRET, Encryption, SecretUnreadable
from service.auth.second_factor.models import KEY_ID, Totp, TotpSetup
from service.db.database import Database

# Rows that are looked at in a transaction.
BATCH: Final = 500
# A setup becomes an enabled app when it is confirmed, never the other way round.
TABLES: Final = (TotpSetup, Totp)

Table = type[Totp] | type[TotpSetup]
# The number of rows by table and id of the key.
Usage = Counter[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Batch:
    """What was done with a batch: rows looked at, rewritten, and not decrypted with their key."""

    read: int
    rewritten: int
    unreadable: int


async def count_by_key(database: Database) -> Usage:
    """Return how many rows of each table need each key; setups that have expired are left out."""
    usage: Usage = Counter()
    async with database.transaction() as session:
        for table in TABLES:
            for key_id, count in await session.execute(_counted(table)):
                usage[table.__tablename__, bytes(key_id)] = count
    return usage


def _counted(table: Table) -> Select[bytes, int]:
    key_id: ColumnElement[bytes] = literal_column(KEY_ID)
    counted = select(key_id, func.count()).select_from(table).group_by(key_id)
    return counted.where(table.expires_at > clock.now()) if table is TotpSetup else counted


async def reencrypt_table(
    database: Database, encryption: Encryption, table: Table
) -> AsyncIterator[Batch]:
    """Rewrite a table's secrets that are under another key than the first, batch by batch."""
    after = UUID(int=0)
    while True:
        async with database.transaction() as session:
            ids = await _next_ids(session, table, after)
            if not ids:
                return
            rewritten, unreadable = await _reencrypt(session, encryption, table, ids)
        yield Batch(len(ids), rewritten, unreadable)
        after = ids[-1]


async def _next_ids(session: AsyncSession, table: Table, after: UUID) -> list[UUID]:
    following = select(table.user_id).where(table.user_id > after)
    return list(await session.scalars(following.order_by(table.user_id).limit(BATCH)))


async def _reencrypt(
    session: AsyncSession, encryption: Encryption, table: Table, ids: list[UUID]
) -> tuple[int, int]:
    """Return how many rows were rewritten, and how many cannot be decrypted with their key."""
    first, *others = encryption.key_ids
    due = select(table.user_id, table.secret).where(
        table.user_id.in_(ids), func.substr(table.secret, 1, len(first)).in_(others)
    )
    locked = (await session.execute(due.with_for_update(key_share=True, skip_locked=True))).all()
    rows = []
    for user_id, stored in locked:
        with suppress(SecretUnreadable):  # it was logged
            secret = encryption.decrypt(TOTP_SECRET, user_id, stored)
            new = encryption.encrypt(TOTP_SECRET, user_id, secret)
            rows.append({"user_id": user_id, "secret": new})
    if rows:
        await session.execute(update(table), rows)
    return len(rows), len(locked) - len(rows)
