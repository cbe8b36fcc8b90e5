"""Applications that read a standby, and clients that read all the time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import asyncpg

from service.db.replica.replica import Replica
from service.testing.application import make_settings, running
from service.web.server.application import Service
from tests.support.client import Client
from tests.support.polling import until
from tests.support.postgres import Server

POST = {"title": "a", "content": "some words"}


@asynccontextmanager
async def reading(
    pair: tuple[Server, Server], folder: Path, **options: object
) -> AsyncIterator[Client]:
    """A client of an application that reads the standby."""
    primary, standby = pair
    options = {"database_url": primary.url(), "database_replica_url": standby.url(), **options}
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


async def is_listed(client: Client, post: dict[str, Any]) -> bool:
    return post in (await client.get("/api/posts")).json["posts"]


@asynccontextmanager
async def replay_paused(pair: tuple[Server, Server]) -> AsyncIterator[None]:
    """Hold the standby where it is while the block runs."""
    connection = await asyncpg.connect(pair[1].url())
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
