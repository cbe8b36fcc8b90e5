"""Clients of the stream that leave, are slow or many, and what they cost."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from service.app import create_app
from service.errors import Unavailable
from service.posts import stream
from service.posts.stream import PostStream
from service.settings import ServerName
from service.testing.application import make_settings
from service.web import broadcast
from service.web.server.application import Service
from tests.support.client import Client
from tests.support.eventsource import EventSource, streaming
from tests.support.lost_connection import LostWhenCancelled, ends
from tests.support.polling import until
from tests.support.streams import INSERT, open_streams, write_post


@pytest.fixture
async def port(app: Service, server: ServerName) -> AsyncIterator[int]:
    async with streaming(app, server) as number:
        yield number


async def test_silent_stream_gets_comments(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "HEARTBEAT", 0)
    async with EventSource(port).connected() as source, asyncio.timeout(5):
        assert await source.block() == await source.block() == {":": ""}


async def test_disconnected_stream_costs_nothing_more(app: Service, port: int) -> None:
    async with EventSource(port).connected():
        assert open_streams(app) == 1

    async def all_gone() -> bool:
        return open_streams(app) == 0

    await until(all_gone)


async def test_slow_stream_is_dropped_and_resumes(
    app: Service, port: int, author: Client, db: "asyncpg.Connection"
) -> None:
    author_id = UUID(author.user["id"])
    slow, quick = EventSource(port), EventSource(port)
    async with slow.connected(), quick.connected():
        seen = []
        # Until the kernel's buffers and ours are full: some kernels let theirs grow to 32 MiB.
        while open_streams(app) == 2:
            rows = [(uuid4(), author_id, "Title", "x" * 100_000) for _ in range(10)]
            await db.executemany(INSERT, rows)
            seen += await quick.take(10)
        received = await slow.rest()
    assert len(received) < len(seen)
    async with slow.connected():
        received += await slow.take(len(seen) - len(received))
        last = await write_post(author)
        assert (await slow.next()).data == last
    assert [event.id for event in received] == [event.id for event in seen]


async def test_stream_that_takes_nothing_is_dropped(
    app: Service,
    port: int,
    author: Client,
    monkeypatch: pytest.MonkeyPatch,
    db: "asyncpg.Connection",
) -> None:
    monkeypatch.setattr(broadcast, "STALLED", 0)
    source = EventSource(port)
    async with source.connected():
        first = source.last_id
    author_id = UUID(author.user["id"])
    rows = [(uuid4(), author_id, "Title", "x" * 100_000) for _ in range(120)]
    await db.executemany(INSERT, rows)
    async with EventSource(port, first).connected() as stuck:

        async def dropped() -> bool:
            return open_streams(app) == 0

        await until(dropped)
        assert len(await stuck.rest()) < 120


async def test_shutdown_ends_streams_at_once_and_politely(app: Service, port: int) -> None:
    sources = [EventSource(port) for _ in range(20)]
    async with asyncio.TaskGroup() as group:

        async def hold(source: EventSource) -> None:
            async with source.connected():
                assert await source.rest() == []

        for source in sources:
            group.create_task(hold(source))

        async def all_open() -> bool:
            return open_streams(app) == 20

        await until(all_open)
        app.shutdown_state.begin()
    assert open_streams(app) == 0
    async with EventSource(port).connected() as late:
        assert " 503 " in late.head


async def test_streams_are_bounded_in_number(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MAX_CLIENTS", 1)
    async with EventSource(port).connected(), EventSource(port).connected() as second:
        assert " 503 " in second.head
        assert "retry-after: 60" in second.head.lower()


async def test_stream_without_a_database_is_503(
    app: Service, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreachable() -> "asyncpg.Connection":
        raise Unavailable from ConnectionRefusedError()

    monkeypatch.setattr(stream, "START_TIMEOUT", 0.05)
    monkeypatch.setattr(app.component(PostStream), "_connect", unreachable)
    async with EventSource(port).connected() as source:
        assert " 503 " in source.head


async def test_stream_reader_cancelled_as_its_connection_is_lost_ends() -> None:
    connect = LostWhenCancelled()
    posts = stream.PostStream(connect)
    waiting = asyncio.create_task(posts.open(None, abort=lambda: None))
    await connect.asked.wait()
    closing = asyncio.create_task(posts.close())
    assert await ends(closing)
    waiting.cancel()
    assert await ends(waiting)


async def test_streams_leave_the_pool_alone(database_url: str, db: "asyncpg.Connection") -> None:
    app = create_app(make_settings(database_url=database_url, database_pool_size=2))
    async with streaming(app) as port:
        author = await Client(app).sign_up()
        sources = [EventSource(port) for _ in range(200)]
        everyone = asyncio.Barrier(201)

        async def hold(source: EventSource) -> Any:
            async with source.connected():
                await everyone.wait()
                return (await source.next()).data

        holding = [asyncio.create_task(hold(source)) for source in sources]
        await everyone.wait()
        assert app.database.usage().in_use == 0
        answers = await asyncio.gather(*[author.get("/api/posts") for _ in range(20)])
        assert {answer.status for answer in answers} == {200}
        ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'service' "
        here = "AND datname = current_database()"
        assert await db.fetchval(ours + here) <= 3  # the pool's two, and one that listens
        expected = await write_post(author)
        assert await asyncio.gather(*holding) == [expected] * 200
