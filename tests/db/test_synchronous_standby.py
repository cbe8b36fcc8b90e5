"""What is acknowledged outlives a failover to a synchronous standby."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest

from service.app import create_app
from service.cli.database import upgrade
from service.testing.application import make_settings, running
from service.testing.client import Answer
from tests.support.client import Client
from tests.support.eventsource import Event, EventSource, streaming
from tests.support.polling import until
from tests.support.postgres import Server
from tests.support.replication import replicated

POST = {"title": "A title", "content": "Some content."}
SYNCHRONOUS = {"synchronous_standby_names": "walreceiver"}
TIMES = {"database_statement_timeout": 1, "database_pool_timeout": 2}
# A connection that is lost ends the wait of its commit, which then is on the primary alone.
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'service'"

Call: TypeAlias = Callable[[], Awaitable[Answer]]


@pytest.mark.proof
async def test_repeated_write_succeeds_only_once_the_standby_has_it(tmp_path: Path) -> None:
    with replicated(**SYNCHRONOUS) as (primary, standby):
        settings = make_settings(database_url=primary.url(), data_dir=tmp_path, **TIMES)
        await upgrade(settings)
        async with running(settings) as app:
            calls = await repeatable_writes(Client(app))
            await asyncio.to_thread(standby.kill)
            assert await statuses(calls) == {503: len(calls)}
            await cut_connections(primary)
            assert await statuses(calls) == {503: len(calls)}
            await asyncio.to_thread(standby.start)
            await until(partial(succeed, calls))


@pytest.mark.proof
async def test_stream_sends_an_event_only_once_the_standby_has_it(tmp_path: Path) -> None:
    with replicated(**SYNCHRONOUS) as (primary, standby):
        settings = make_settings(database_url=primary.url(), data_dir=tmp_path, **TIMES)
        await upgrade(settings)
        app = create_app(settings)
        async with streaming(app) as port:
            author = await Client(app).sign_up()
            live, resuming = EventSource(port), EventSource(port)
            async with live.connected(), resuming.connected():
                assert (await author.post("/api/posts", POST)).status == 201
                assert await live.next() == await resuming.next()
            waiting = asyncio.create_task(next_event(live))
            await asyncio.to_thread(standby.kill)
            assert (await author.post("/api/posts", POST)).status == 503
            await cut_connections(primary)
            assert (await author.get("/api/posts")).json["total"] == 2
            both = [waiting, asyncio.create_task(next_event(resuming))]
            assert not (await asyncio.wait(both, timeout=2))[0]
            await asyncio.to_thread(standby.start)
            seen = await asyncio.gather(*both)
            assert seen[0] == seen[1]


async def next_event(source: EventSource) -> Event:
    """The next event, on as many connections as it takes."""
    while True:
        with suppress(EOFError, TimeoutError):
            async with source.connected():
                if " 200 " in source.head:
                    return await source.next()
        await asyncio.sleep(0.1)


async def cut_connections(server: Server) -> None:
    """End every connection of the service."""
    db = await asyncpg.connect(server.url())
    await db.execute(CUT)
    await db.close()


async def repeatable_writes(client: Client) -> list[Call]:
    """Writes that succeed when they are repeated, and then change nothing."""
    author, admin = await client.sign_up(), await client.as_admin()
    ids = [(await author.post("/api/posts", POST)).json["id"] for _ in range(3)]
    for post_id in ids[1:]:
        assert (await author.delete(f"/api/posts/{post_id}")).status == 204
    key = {"Idempotency-Key": "a-key"}
    return [
        partial(author.post, "/api/posts", POST, headers=key),
        partial(author.patch, f"/api/posts/{ids[0]}", {"title": "Another title"}),
        partial(author.post, f"/api/posts/{ids[1]}/restore"),
        partial(admin.post, f"/admin/posts/{ids[2]}/restore"),
        partial(author.patch, "/auth/me", {"username": "another-name"}),
        partial(author.post, "/auth/refresh", token=author.refresh_token),
    ]


async def statuses(calls: list[Call]) -> Counter[int]:
    """The statuses of the calls, all at once."""
    return Counter(answer.status for answer in await asyncio.gather(*(call() for call in calls)))


async def succeed(calls: list[Call]) -> bool:
    """Whether all calls succeed."""
    return all(status < 300 for status in await statuses(calls))
