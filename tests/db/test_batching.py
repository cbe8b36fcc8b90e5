"""Rows that many look up at once: one statement, and to each their own."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from copy import copy
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import Integer, Uuid, bindparam, column, func, select, table, text, values

from service.db.batching import BATCH_MAX, Batcher
from service.db.database import Database
from service.db.errors import DatabaseUnavailable
from service.db.pool import WAITING_PER_CONNECTION, ConnectionTracker
from service.db.query import CompiledQuery, CompiledStatement, CompiledWrite, KeyedQuery, Record
from service.db.read_session import fetch_by_key
from service.errors import Unavailable
from service.ids import new_id
from service.observability import context
from service.observability.metrics import Metrics
from service.settings import Settings
from tests.support.client import Client
from tests.support.polling import until
from tests.support.pool import ONE, ends_at_once, waits
from tests.support.round_trips import Trips
from tests.support.scrape import Scrape

KNOWN = [new_id() for _ in range(BATCH_MAX + 1)]
UNKNOWN = new_id()
_known = values(column("id", Uuid), name="known").data([(key,) for key in KNOWN])
LOOKUP = KeyedQuery(select(_known.c.id), _known.c.id)
_written = table("written", column("id", Uuid))
SLOW = KeyedQuery(select(func.pg_sleep(60)).select_from(_known), _known.c.id)
SLEEPING = (
    "FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND state = 'active' "
    "AND pid <> pg_backend_pid() AND datname = current_database()"
)


@pytest.fixture
def connections() -> int:
    """How many the pool has."""
    return 1


@pytest.fixture
async def database(settings: Settings, connections: int) -> AsyncIterator[Database]:
    made = Database(settings.model_copy(update={"database_pool_size": connections}))
    yield made
    await made.close()


async def size_of(database: Database, suffix: str, **labels: str) -> float:
    """A sample of the metric of batches' sizes."""
    metrics = Metrics()
    database.register_metrics(metrics)
    return Scrape(await metrics.render()).value(f"database_batch_size_{suffix}", **labels)


@pytest.fixture
def sent(database: Database) -> list[str]:
    """What was sent to PostgreSQL."""
    return Trips(database.engine).sent


async def all_of(database: Database, keys: Sequence[UUID]) -> list[Any]:
    rows = await asyncio.gather(*(database.autocommit.fetch_by_key(LOOKUP, key) for key in keys))
    await asyncio.sleep(0)  # the driver tells its statements in the loop's next turn
    return [row and row["id"] for row in rows]


async def test_concurrent_lookups_are_one_statement(database: Database, sent: list[str]) -> None:
    keys = [KNOWN[2], UNKNOWN, KNOWN[0], KNOWN[1], KNOWN[0]]
    assert await all_of(database, keys) == [KNOWN[2], None, KNOWN[0], KNOWN[1], KNOWN[0]]
    assert sent == ["SELECT"]


async def test_sizes_of_batches_are_measured(database: Database) -> None:
    await all_of(database, KNOWN[:7])
    await all_of(database, KNOWN[:1])
    assert await size_of(database, "count", kind="read") == 2
    assert await size_of(database, "sum", kind="read") == 8
    assert await size_of(database, "bucket", kind="read", le="5.0") == 1
    assert await size_of(database, "bucket", kind="read", le="10.0") == 2
    assert await size_of(database, "count", kind="write") == 0


@pytest.mark.parametrize("connections", [2])
async def test_batch_has_a_greatest_size(database: Database, sent: list[str]) -> None:
    assert await all_of(database, KNOWN) == KNOWN
    assert len(sent) == 2


async def test_successive_lookups_are_a_statement_each(database: Database, sent: list[str]) -> None:
    assert await all_of(database, KNOWN[:1]) == KNOWN[:1]
    assert await all_of(database, KNOWN[1:2]) == KNOWN[1:2]
    assert len(sent) == 2


async def test_lookups_that_wait_for_a_connection_join_one_batch(
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


async def test_lookup_beyond_the_queue_is_refused(database: Database) -> None:
    async with database.session() as session:
        await session.execute(ONE)
        waiting = asyncio.create_task(all_of(database, KNOWN[:BATCH_MAX]))
        await until(lambda: waits(database, BATCH_MAX))
        with pytest.raises(Unavailable):
            await database.autocommit.fetch_by_key(LOOKUP, KNOWN[0])
    assert await waiting == KNOWN[:BATCH_MAX]
    assert await all_of(database, KNOWN[:1]) == KNOWN[:1]


async def test_cancelled_lookups_make_room_in_the_queue(database: Database) -> None:
    async with database.session() as session:
        await session.execute(ONE)
        for _ in range(WAITING_PER_CONNECTION + 1):
            leaving = asyncio.create_task(all_of(database, KNOWN[:BATCH_MAX]))
            await until(lambda: waits(database, BATCH_MAX))
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
        last = asyncio.create_task(all_of(database, KNOWN[:1]))
        await until(lambda: waits(database, 1))
    assert await last == KNOWN[:1]
    assert database.usage() == (1, 0, 0)


async def test_cancelled_lookup_leaves_the_others_of_its_batch(database: Database) -> None:
    leaving, staying = (
        asyncio.create_task(database.autocommit.fetch_by_key(LOOKUP, key)) for key in KNOWN[:2]
    )
    await asyncio.sleep(0)
    leaving.cancel()
    row = await staying
    assert row is not None
    assert row["id"] == KNOWN[1]
    assert leaving.cancelled()


async def test_batch_that_all_cancelled_gives_its_connection_back(database: Database) -> None:
    leaving = asyncio.create_task(all_of(database, KNOWN[:2]))
    await until(lambda: uses_it(database))
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert await all_of(database, KNOWN[:1]) == KNOWN[:1]
    assert database.usage() == (1, 0, 0)


async def test_statement_that_no_request_waits_for_is_given_up_before_it_is_sent(
    database: Database, settings: Settings
) -> None:
    async with database.session() as session:
        await session.execute(ONE)
        leaving = asyncio.create_task(all_of(database, KNOWN[:2]))
        await until(lambda: waits(database, 2))
        leaving.cancel()
        async with asyncio.timeout(settings.database_pool_timeout / 2):
            await until(lambda: waits(database, 0))


async def test_statement_that_no_request_waits_for_any_more_ends_before_its_timeout(
    database: Database, settings: Settings, db: "asyncpg.Connection"
) -> None:
    waiting = asyncio.create_task(database.autocommit.fetch_by_key(SLOW, KNOWN[0]))
    await until(lambda: db.fetchval(f"SELECT count(*) {SLEEPING}"))
    waiting.cancel()
    async with asyncio.timeout(settings.database_statement_timeout / 2):
        assert await all_of(database, KNOWN[:1]) == KNOWN[:1]


async def test_closing_the_database_cancels_lookups(settings: Settings) -> None:
    database = Database(settings)
    waiting = asyncio.create_task(database.autocommit.fetch_by_key(SLOW, KNOWN[0]))
    await until(lambda: uses_it(database))
    async with asyncio.timeout(15):
        await database.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def uses_it(database: Database) -> bool:
    return database.usage().in_use == 1


async def test_lost_connection_fails_every_lookup_of_its_batch(
    database: Database, db: "asyncpg.Connection"
) -> None:
    waiting = [
        asyncio.create_task(database.autocommit.fetch_by_key(SLOW, key)) for key in KNOWN[:3]
    ]
    await until(lambda: db.fetchval(f"SELECT pg_terminate_backend(pid) {SLEEPING}"))
    errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in errors] == [DatabaseUnavailable] * 3
    assert len({id(error) for error in errors}) == 3
    assert await all_of(database, KNOWN[:1]) == KNOWN[:1]


async def test_batch_s_statement_has_no_request_s_context(database: Database) -> None:
    knew = []

    async def read(_query: CompiledStatement, values: Callable[[], object]) -> list[Record]:
        knew.append(dict(context.current()))
        values()
        return []

    context.set({"request_id": "the-first"})
    assert await Batcher(read, 1, 1).execute(LOOKUP, KNOWN[0]) == (None, 1)
    assert knew == [{}]
    hold = ConnectionTracker.install()
    waiting = asyncio.create_task(database.autocommit.fetch_by_key(SLOW, KNOWN[0]))
    await until(lambda: uses_it(database))
    assert await ends_at_once(hold)
    waiting.cancel()


class OddError(Exception):
    """It can't be copied: it takes more than it keeps."""

    def __init__(self, one: str, _two: str) -> None:
        super().__init__(one)


async def test_any_error_fails_every_lookup_of_its_batch() -> None:
    async def read(_query: CompiledStatement, _values: object) -> list[Record]:
        raise OddError("one", "two")

    batcher = Batcher(read, 2, 2)
    waiting = [asyncio.create_task(batcher.execute(LOOKUP, key)) for key in KNOWN[:2]]
    async with asyncio.timeout(15):
        told = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in told] == [OddError] * 2


async def test_row_is_tried_alone_although_the_others_of_its_failed_statement_left() -> None:
    sent: list[Any] = []
    failing, under_way = asyncio.Event(), asyncio.Event()

    async def run(_: CompiledStatement, values: Callable[[], Mapping[str, Any]]) -> list[Any]:
        sent.append(values()["keys"])
        if len(sent) == 1:
            under_way.set()
            await failing.wait()
            raise OddError("one", "two")
        return [{"key": KNOWN[1]}]

    batcher, write = Batcher(run, 0, 2), copy(LOOKUP)
    write.compiled = CompiledWrite(LOOKUP.compiled.statement)
    leaving, staying = [asyncio.create_task(batcher.execute(write, key)) for key in KNOWN[:2]]
    await under_way.wait()
    leaving.cancel()
    failing.set()
    row, size = await staying
    assert (row and row["key"], size) == (KNOWN[1], 1)
    first, second = (key.hex for key in KNOWN[:2])
    assert sent == [[first, second], [second]]


async def test_failed_batch_leaves_nothing_to_the_collector(database: Database) -> None:
    broken = KeyedQuery(select(text("nothing")).select_from(_known), _known.c.id)

    async def fail() -> None:
        for _ in range(3):
            try:
                await database.autocommit.fetch_by_key(broken, KNOWN[0])
            except asyncpg.UndefinedColumnError:
                continue
            raise AssertionError

    await fail()
    gc.collect()
    gc.disable()
    try:
        await fail()
        await asyncio.sleep(0)
        left = [thing for thing in gc.get_objects() if type(thing).__name__ == "_Batch"]
    finally:
        gc.enable()
    assert not left


async def test_lookup_in_a_transaction_finds_what_it_wrote(database: Database) -> None:
    async with database.session() as session:
        await session.execute(text("CREATE TEMPORARY TABLE written (id uuid) ON COMMIT DROP"))
        await session.execute(text(f"INSERT INTO written VALUES ('{UNKNOWN}')"))
        written = KeyedQuery(select(_written.c.id), _written.c.id)
        row = await fetch_by_key(session, written, UNKNOWN)
        assert row is not None
        assert row.id == UNKNOWN
        assert await fetch_by_key(session, written, KNOWN[0]) is None


@pytest.mark.parametrize("connections", [2])
async def test_lookup_does_not_join_a_statement_under_way(
    database: Database, db: "asyncpg.Connection", sent: list[str]
) -> None:
    await db.execute("CREATE TABLE written (id uuid)")
    lookup = KeyedQuery(select(_written.c.id), _written.c.id)

    async def blocked(count: int) -> bool:
        found: int = await db.fetchval(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'written'::regclass"
        )
        return found == count

    async with db.transaction():
        await db.execute("LOCK TABLE written")
        first = asyncio.create_task(database.autocommit.fetch_by_key(lookup, KNOWN[0]))
        await until(lambda: blocked(1))
        second = asyncio.create_task(database.autocommit.fetch_by_key(lookup, KNOWN[0]))
        await until(lambda: blocked(2))
        await db.execute("INSERT INTO written VALUES ($1)", KNOWN[0])
    assert await second is not None
    await first
    await asyncio.sleep(0)
    assert len(sent) == 2


async def test_lookup_never_reads_an_older_state_than_its_start(client: Client) -> None:
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


NUMBER = CompiledQuery(select(bindparam("number", type_=Integer).label("number")))


async def numbers(database: Database, asked: Sequence[int], make: Callable[[Any], Any]) -> Any:
    fetch = database.autocommit.fetch_shared
    answers = await asyncio.gather(
        *(fetch(NUMBER, {"number": number}, make) for number in asked), return_exceptions=True
    )
    await asyncio.sleep(0)
    return answers


async def test_queries_with_the_same_parameters_are_one_statement_whose_answer_is_made_once(
    database: Database, sent: list[str]
) -> None:
    made: list[int] = []

    def make(rows: Sequence[Record]) -> int:
        made.append(rows[0].number)
        return made[-1]

    assert await numbers(database, [7, 7, 7, 7], make) == [7] * 4
    assert (sent, made) == (["SELECT"], [7])


async def test_queries_with_other_parameters_share_nothing(
    database: Database, sent: list[str]
) -> None:
    assert await numbers(database, [1, 2, 1], lambda rows: rows[0].number) == [1, 2, 1]
    assert len(sent) == 2


async def test_error_in_what_is_made_of_rows_is_that_of_each_request(database: Database) -> None:
    answers = await numbers(database, [1, 1], lambda rows: rows[9])
    assert [type(answer) for answer in answers] == [IndexError] * 2
    assert answers[0] is not answers[1]
