"""What the pool knows of the requests that use it."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import event, literal, select
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from service.db import engine
from service.db.connecting import Connection, open_connection
from service.db.database import Database
from service.db.pool import (
    CONNECTIONS_PER_READER,
    READING,
    WAITING_PER_CONNECTION,
    ConnectionTracker,
)
from service.db.query import CompiledQuery
from service.errors import Unavailable
from service.settings import Settings
from tests.support.polling import until
from tests.support.pool import LONG, ONE, ends_at_once, waits

ONE_ROW = CompiledQuery(select(literal(1)))


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """A pool of one connection."""
    made = Database(settings.model_copy(update={"database_pool_size": 1}))
    yield made
    await made.close()


@pytest.mark.parametrize("read_only", [True, False])
async def test_session_gives_its_connection_back(database: Database, read_only: bool) -> None:
    tracker = ConnectionTracker.install()
    async with database.read_session() if read_only else database.session() as session:
        assert (await session.execute(ONE)).scalar_one() == 1
    assert await ends_at_once(tracker)


async def test_fetch_all_gives_its_connection_back(database: Database) -> None:
    tracker = ConnectionTracker.install()
    await database.autocommit.fetch_all(ONE_ROW, {})
    assert await ends_at_once(tracker)


@pytest.mark.parametrize("reads", [True, False])
async def test_connection_lost_before_its_first_statement_is_unavailable(
    database: Database, monkeypatch: pytest.MonkeyPatch, reads: bool
) -> None:
    async def open_and_lose(*arguments: Any, **options: Any) -> Connection:
        connection = await open_connection(*arguments, **options)
        connection.terminate()
        return connection

    monkeypatch.setattr(engine, "open_connection", open_and_lose)
    with pytest.raises(Unavailable):
        await ask(database, reads=reads)
    monkeypatch.undo()
    await ask(database, reads=reads)


async def ask(database: Database, *, reads: bool) -> None:
    """Run a statement as reads do, or as writes do."""
    if reads:
        await database.autocommit.fetch_all(ONE_ROW, {})
    else:
        async with database.session() as session:
            await session.execute(ONE)


async def test_drain_waits_for_a_statement_under_way(database: Database) -> None:
    tracker = ConnectionTracker.install()
    async with database.session() as session:
        await session.execute(ONE)
        ending = asyncio.create_task(tracker.drain(LONG))
        await asyncio.sleep(0)
        assert not ending.done()
    await ending


async def test_drain_is_bounded_in_time(database: Database) -> None:
    tracker = ConnectionTracker.install()
    async with database.session() as session:
        await session.execute(ONE)
        await tracker.drain(0.01)
        assert tracker.closed()


async def test_closed_tracker_gets_no_connection(database: Database) -> None:
    tracker = ConnectionTracker.install()
    await tracker.drain(LONG)
    async with database.session() as session:
        with pytest.raises(asyncio.CancelledError):
            await session.execute(ONE)
    assert database.usage().in_use == 0


async def test_tracker_closed_while_waiting_gets_no_connection(database: Database) -> None:
    async with database.session() as first:
        await first.execute(ONE)
        tracker = ConnectionTracker.install()
        async with database.session() as second:
            waiting = asyncio.create_task(second.execute(ONE))
            await asyncio.sleep(0)
            await tracker.drain(LONG)
            await first.rollback()
            with pytest.raises(asyncio.CancelledError):
                await waiting
    assert database.usage().in_use == 0


async def test_request_beyond_the_pool_s_queue_is_refused(database: Database) -> None:
    async def ask() -> None:
        async with database.read_session() as session:
            await session.execute(ONE)

    async with database.session() as first:
        await first.execute(ONE)
        waiting = [asyncio.create_task(ask()) for _ in range(WAITING_PER_CONNECTION)]
        await until(lambda: waits(database, WAITING_PER_CONNECTION))
        with pytest.raises(Unavailable):
            await ask()
    await asyncio.gather(*waiting)
    assert database.usage().in_use == 0


async def test_connections_are_given_in_order_of_arrival(database: Database) -> None:
    served = []

    async def ask(name: str) -> None:
        await database.autocommit.fetch_all(ONE_ROW, {})
        served.append(name)

    async with database.session() as session:
        await session.execute(ONE)
        waiting = [asyncio.create_task(ask(name)) for name in ("first", "second")]
        await until(lambda: waits(database, 2))
        await session.rollback()
        await ask("newcomer")
    await asyncio.gather(*waiting)
    assert served == ["first", "second", "newcomer"]


async def test_cancelled_waiter_passes_its_connection_on(database: Database) -> None:
    async with database.session() as session:
        await session.execute(ONE)
        leaving, waiting = (
            asyncio.create_task(database.autocommit.fetch_all(ONE_ROW, {})) for _ in range(2)
        )
        await until(lambda: waits(database, 2))
        await session.rollback()
        leaving.cancel()  # it has its turn, and does not know yet
        assert len(await waiting) == 1
    assert leaving.cancelled()
    assert database.usage() == (1, 0, 0)


@pytest.mark.filterwarnings("ignore:The garbage collector is trying to clean up")
async def test_forgotten_connection_is_given_back(database: Database) -> None:
    for _ in range(2):
        forgotten = await database.engine.raw_connection()
        del forgotten
        gc.collect()
    assert len(await database.autocommit.fetch_all(ONE_ROW, {})) == 1
    assert database.usage() == (1, 0, 0)


async def test_write_waits_for_both_of_its_slots_no_longer_than_the_pool_s_timeout(
    settings: Settings,
) -> None:
    update = {"database_pool_size": CONNECTIONS_PER_READER, "database_pool_timeout": 1}
    database = Database(settings.model_copy(update=update))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        token = READING.set(True)
        reader = await stack.enter_async_context(database.session())
        await reader.execute(ONE)
        READING.reset(token)
        held = [database.session() for _ in range(CONNECTIONS_PER_READER - 1)]
        for session in held:
            await stack.enter_async_context(session)
            await session.execute(ONE)
        start = monotonic()
        waiting = asyncio.create_task(ask_as_writer(database))
        await asyncio.sleep(0.6)
        # A reader came before the writer to the place that a writer leaves.
        token = READING.set(True)
        overtaking = await stack.enter_async_context(database.session())
        taking = asyncio.create_task(overtaking.execute(ONE))
        READING.reset(token)
        await asyncio.sleep(0)
        await held[0].rollback()
        await taking
        with pytest.raises(PoolTimeoutError):
            await waiting
        assert monotonic() - start < 1.4


async def test_database_whose_connections_are_all_given_up_at_once_is_unavailable(
    database: Database,
) -> None:
    # What several requests that find a server silent do while others connect anew.
    sync_engine: Any = database.engine.sync_engine
    event.listen(sync_engine, "connect", lambda *_: sync_engine.pool.drop())
    with pytest.raises(Unavailable):
        await database.autocommit.fetch_all(ONE_ROW, {})
    with pytest.raises(Unavailable):
        async with database.session() as session:
            await session.execute(ONE)


async def ask_as_writer(database: Database) -> None:
    async with database.session() as session:
        await session.execute(ONE)
