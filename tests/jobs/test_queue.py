"""The queue: a job belongs to the transaction that enqueues it."""

import asyncpg
import pytest

from service.db.database import Database
from service.jobs.queue import enqueue

WAITING = "SELECT count(*) FROM pgqueuer"


async def test_rolled_back_transaction_enqueues_no_job(
    database: Database, db: asyncpg.Connection
) -> None:
    # Enqueued as the first statement of a session: nothing has begun a transaction yet.
    async with database.session() as session:
        await enqueue(session, "anything", {})
        assert await db.fetchval(WAITING) == 0
        await session.rollback()
    assert await db.fetchval(WAITING) == 0


async def test_committed_transaction_enqueues_its_job(
    database: Database, db: asyncpg.Connection
) -> None:
    async with database.session() as session:
        await enqueue(session, "anything", {"a": 1}, to="ann@example.com")
        await session.commit()
    row = await db.fetchrow("SELECT * FROM pgqueuer")
    assert row is not None
    assert (row["entrypoint"], row["payload"]) == ("anything", b'{"a": 1}')


async def test_enqueueing_in_autocommit_is_refused(
    database: Database, db: asyncpg.Connection
) -> None:
    async with database.read_session() as session:
        with pytest.raises(RuntimeError, match="autocommit"):
            await enqueue(session, "anything", {})
    assert await db.fetchval(WAITING) == 0
