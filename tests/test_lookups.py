"""Rows that many look up at once: one statement, and to each their own."""

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import Uuid, column, func, select, table, text, values

from service import context
from service.database import Database
from service.errors import Unavailable
from service.ids import new_id
from service.lookups import MOST_TOGETHER
from service.reading import Lookup, find
from service.settings import Settings
from tests.client import Client
from tests.conftest import Trips
from tests.test_pool import ONE, waits
from tests.waiting import until

KNOWN = [new_id() for _ in range(MOST_TOGETHER + 1)]
UNKNOWN = new_id()
_known = values(column("id", Uuid), name="known").data([(key,) for key in KNOWN])
LOOKUP = Lookup(select(_known.c.id), _known.c.id)
_written = table("written", column("id", Uuid))
SLOW = Lookup(select(func.pg_sleep(60)).select_from(_known), _known.c.id)


@pytest.fixture
def connections() -> int:
    """How many the pool has."""
    return 1


@pytest.fixture
async def database(settings: Settings, connections: int) -> AsyncIterator[Database]:
    made = Database(settings.model_copy(update={"database_pool_size": connections}))
    yield made
    await made.close()


@pytest.fixture
def sent(database: Database) -> list[str]:
    """What was sent to PostgreSQL."""
    return Trips(database.engine).sent


async def all_of(database: Database, keys: Sequence[UUID]) -> list[Any]:
    rows = await asyncio.gather(*(database.find(LOOKUP, key) for key in keys))
    await asyncio.sleep(0)  # the driver tells its statements in the loop's next turn
    return [row and row["id"] for row in rows]


async def test_one_statement_finds_them_all(database: Database, sent: list[str]) -> None:
    keys = [KNOWN[2], UNKNOWN, KNOWN[0], KNOWN[1], KNOWN[0]]
    assert await all_of(database, keys) == [KNOWN[2], None, KNOWN[0], KNOWN[1], KNOWN[0]]
    assert sent == ["SELECT"]


@pytest.mark.parametrize("connections", [2])
async def test_a_statement_takes_so_many(database: Database, sent: list[str]) -> None:
    assert await all_of(database, KNOWN) == KNOWN
    assert len(sent) == 2


async def test_one_after_the_other_asks_each_time(database: Database, sent: list[str]) -> None:
    assert await all_of(database, KNOWN[:1]) == KNOWN[:1]
    assert await all_of(database, KNOWN[1:2]) == KNOWN[1:2]
    assert len(sent) == 2


async def test_who_waits_for_a_connection_waits_together(
    database: Database, sent: list[str]
) -> None:
    async with database.session() as session:
        await session.execute(ONE)
        first = asyncio.create_task(all_of(database, KNOWN[:2]))
        await until(lambda: waits(database, 2))
        second = asyncio.create_task(all_of(database, KNOWN[2:4]))
        await until(lambda: waits(database, 4))
        sent.clear()
    assert await first + await second == KNOWN[:4]
    assert sent.count("SELECT") == 1
    assert database.usage() == (1, 0, 0)


async def test_beyond_its_limit_nobody_waits(database: Database) -> None:
    async with database.session() as session:
        await session.execute(ONE)
        waiting = asyncio.create_task(all_of(database, KNOWN[:MOST_TOGETHER]))
        await until(lambda: waits(database, MOST_TOGETHER))
        with pytest.raises(Unavailable):
            await database.find(LOOKUP, KNOWN[0])
    assert await waiting == KNOWN[:MOST_TOGETHER]
    assert await all_of(database, KNOWN[:1]) == KNOWN[:1]


async def test_who_leaves_takes_nobody_along(database: Database) -> None:
    leaving, staying = (asyncio.create_task(database.find(LOOKUP, key)) for key in KNOWN[:2])
    await asyncio.sleep(0)
    leaving.cancel()
    row = await staying
    assert row is not None
    assert row["id"] == KNOWN[1]
    assert leaving.cancelled()


async def test_when_all_leave_the_connection_is_not_lost(database: Database) -> None:
    leaving = asyncio.create_task(all_of(database, KNOWN[:2]))
    await until(lambda: uses_it(database))
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert await all_of(database, KNOWN[:1]) == KNOWN[:1]
    assert database.usage() == (1, 0, 0)


async def uses_it(database: Database) -> bool:
    return database.usage().in_use == 1


async def test_all_are_told_when_the_connection_is_lost(
    database: Database, db: "asyncpg.Connection", capsys: pytest.CaptureFixture[str]
) -> None:
    context.begin({"request_id": "the-first"})
    waiting = [asyncio.create_task(database.find(SLOW, key)) for key in KNOWN[:3]]
    await until(
        lambda: db.fetchval(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query LIKE '%known%' AND state = 'active' AND pid <> pg_backend_pid()"
            " AND datname = current_database()"
        )
    )
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in told] == [Unavailable] * 3
    assert await all_of(database, KNOWN[:1]) == KNOWN[:1]
    logged = capsys.readouterr()
    assert "database unavailable" in logged.out + logged.err
    assert "the-first" not in logged.out + logged.err  # it was everybody's


async def test_errors_leave_nothing_for_the_collector(database: Database) -> None:
    broken = Lookup(select(text("nothing")).select_from(_known), _known.c.id)

    async def fail() -> None:
        for _ in range(3):
            try:
                await database.find(broken, KNOWN[0])
            except asyncpg.UndefinedColumnError:
                continue
            raise AssertionError

    await fail()
    gc.collect()
    gc.disable()
    try:
        await fail()
        await asyncio.sleep(0)
        left = [thing for thing in gc.get_objects() if type(thing).__name__ == "_Together"]
    finally:
        gc.enable()
    assert not left


async def test_a_transaction_finds_what_it_wrote(database: Database) -> None:
    async with database.session() as session:
        await session.execute(text("CREATE TEMPORARY TABLE written (id uuid) ON COMMIT DROP"))
        await session.execute(text(f"INSERT INTO written VALUES ('{UNKNOWN}')"))
        written = Lookup(select(_written.c.id), _written.c.id)
        row = await find(session, written, UNKNOWN)
        assert row is not None
        assert row.id == UNKNOWN
        assert await find(session, written, KNOWN[0]) is None


async def test_readers_never_get_what_was_before_they_asked(client: Client) -> None:
    author = await client.sign_up()
    path = (await author.post("/api/posts", {"title": "t", "content": "c"})).json["id"]
    committed = 1
    done = asyncio.Event()

    async def read() -> None:
        while not done.is_set():
            before = committed
            assert (await client.get(f"/api/posts/{path}")).json["version"] >= before

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(read())
        for number in range(40):
            changed = await author.patch(f"/api/posts/{path}", {"title": f"t{number}"})
            committed = changed.json["version"]
        done.set()
    assert committed == 41
