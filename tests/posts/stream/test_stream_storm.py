"""The stream under many writers, restarts of the database, and signals."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import asyncpg
import pytest

from service.app import create_app
from service.db import migrations
from service.db.engine import create_engine
from service.embedded_postgres import start
from service.settings import ServerName, Settings
from service.testing.application import make_settings
from tests.support.client import Client
from tests.support.eventsource import Event, EventSource, streaming
from tests.support.polling import PATIENCE
from tests.support.processes import service_process
from tests.support.servers import uvicorn_later

POST = {"title": "A title", "content": "Some content"}
INSERT = "INSERT INTO posts (id, author_id, title, content) VALUES ($1, $2, 'Title', 'Content')"

SLOW_WRITERS = 14
WRITERS = 16


async def write_slowly(url: str, author_id: UUID, seed: int, posts: int) -> list[str]:
    """Write posts in transactions that commit at random moments after the change."""
    random = Random(seed)
    connection = await asyncpg.connect(url)
    ids = [uuid4() for _ in range(posts)]
    for post_id in ids:
        async with connection.transaction():
            await connection.execute(INSERT, post_id, author_id)
            await asyncio.sleep(random.random() * 0.02)
    await connection.close()
    return [str(post_id) for post_id in ids]


async def write_by_http(author: Client, posts: int) -> list[str]:
    """Write posts as clients do."""
    ids = []
    for _ in range(posts):
        answer = await author.post("/api/posts", POST)
        assert answer.status == 201
        ids.append(answer.json["id"])
    return ids


async def follow(source: EventSource, seed: int, written: asyncio.Future[int]) -> list[Event]:
    """Read until everything was seen, connecting anew at random moments."""
    random = Random(seed)
    seen: list[Event] = []
    while not (written.done() and len(seen) >= written.result()):
        async with source.connected():
            for _ in range(random.randrange(1, 400)):
                try:
                    async with asyncio.timeout(1):
                        seen.append(await source.next())
                except (TimeoutError, EOFError):
                    break
                if written.done() and len(seen) >= written.result():
                    break
    return seen


@pytest.mark.parametrize(
    ("clients", "posts"), [(8, 60), pytest.param(20, 200, marks=pytest.mark.proof)]
)
async def test_every_stream_sees_every_event_once_in_one_order(
    settings: Settings, clients: int, posts: int
) -> None:
    app = create_app(settings)
    async with streaming(app) as port:
        author = await Client(app).sign_up()
        author_id, url = UUID(author.user["id"]), settings.database_dsn
        sources = [EventSource(port) for _ in range(clients)]
        for source in sources:
            async with source.connected():
                pass
        written: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        following = [
            asyncio.create_task(follow(source, seed, written))
            for seed, source in enumerate(sources)
        ]
        lists = await asyncio.gather(
            *[write_slowly(url, author_id, seed, posts) for seed in range(SLOW_WRITERS)],
            *[write_by_http(author, posts) for _ in range(WRITERS - SLOW_WRITERS)],
        )
        ids = [post_id for written_ids in lists for post_id in written_ids]
        written.set_result(len(ids))
        async with asyncio.timeout(60):
            first, *others = await asyncio.gather(*following)
        assert sorted(event.data["id"] for event in first) == sorted(ids)
        for seen in others:
            assert [event.id for event in seen] == [event.id for event in first]


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder where a database's socket fits, and so is found again after a restart."""
    with tempfile.TemporaryDirectory(prefix="service-") as folder:
        yield Path(folder)


async def test_database_restart_leaves_no_gap_in_the_stream(short_path: Path) -> None:
    server = start(short_path, durable=False)
    settings = make_settings(database_url=server.url())
    engine = create_engine(settings)
    await migrations.upgrade(engine)
    await engine.dispose()
    app = create_app(settings)
    try:
        async with streaming(app) as port, EventSource(port).connected() as source:
            author = await Client(app).sign_up()
            ids = await _write(author, 5)
            await asyncio.to_thread(server.stop)
            assert (await author.post("/api/posts", POST)).status == 503
            server = await asyncio.to_thread(start, short_path, durable=False)
            # By others, before the stream may have found its way back.
            connection = await asyncpg.connect(server.url())
            ids.append(str(await _insert(connection, UUID(author.user["id"]))))
            await connection.close()
            ids += await _write(author, 5)
            assert [event.data["id"] for event in await source.take(len(ids))] == ids
    finally:
        await asyncio.to_thread(server.stop)


async def _write(author: Client, count: int) -> list[str]:
    answers = [await author.post("/api/posts", POST) for _ in range(count)]
    assert {answer.status for answer in answers} == {201}
    return [answer.json["id"] for answer in answers]


async def _insert(connection: "asyncpg.Connection", author_id: UUID) -> UUID:
    post_id = uuid4()
    await connection.execute(INSERT, post_id, author_id)
    return post_id


async def test_lost_connections_leave_no_gap_in_the_stream(
    settings: Settings, db: "asyncpg.Connection"
) -> None:
    app = create_app(settings)
    async with streaming(app) as port, EventSource(port).connected() as source:
        author = await Client(app).sign_up()
        author_id = UUID(author.user["id"])
        ids = []
        for _ in range(5):
            ids.append(str(await _insert(db, author_id)))
            await db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'service'"
            )
            ids.append(str(await _insert(db, author_id)))
        assert [event.data["id"] for event in await source.take(len(ids))] == ids


async def test_events_lost_in_a_failover_reset_the_stream(
    settings: Settings, db: "asyncpg.Connection"
) -> None:
    app = create_app(settings)
    async with streaming(app) as port:
        author = await Client(app).sign_up()
        source = EventSource(port)
        async with source.connected():
            await _write(author, 2)
            await source.take(2)
            await db.execute("DELETE FROM post_events WHERE kind = 'post.created'")
            await db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'service'"
            )
            assert await source.rest() == []
        async with source.connected():
            assert (await source.next()).kind == "reset"


@uvicorn_later
@pytest.mark.parametrize("worker_class", ["asyncio", "uvloop"])
async def test_sigterm_ends_streams_before_connections_are_drained(
    database_url: str, tmp_path: Path, server: ServerName, worker_class: str
) -> None:
    options = {"server": server, "worker_class": worker_class, "graceful_timeout": 60}
    async with service_process(database_url, tmp_path, **options) as service:
        async with EventSource(service.port).connected() as source:
            service.terminate()
            assert await source.rest() == []
        async with asyncio.timeout(PATIENCE):
            assert (await service.ended())[0] == 0
