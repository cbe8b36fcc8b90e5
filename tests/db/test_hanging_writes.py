"""Reads while writes hang: a part of the pool is for reads alone."""

import asyncio
from asyncio import Task
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.cli.database import upgrade
from service.db.pool import CONNECTIONS_PER_READER, WAITING_PER_CONNECTION
from service.settings import Settings
from service.testing.application import make_settings, running
from service.testing.client import Answer
from tests.support.client import Client
from tests.support.polling import until
from tests.support.replication import replicated

POOL: dict[str, Any] = {
    "database_pool_size": 2 * CONNECTIONS_PER_READER,
    "database_statement_timeout": 30,
}
WRITERS = 2 * CONNECTIONS_PER_READER - 2  # connections that may write
# Creations that may wait, in statements or for connections.
MAX_CREATING = WAITING_PER_CONNECTION * 2 * CONNECTIONS_PER_READER
WAITING_FOR_THE_TABLE = (
    "SELECT count(*) FROM pg_locks WHERE relation = 'posts'::regclass AND NOT granted"
)
WAITING_FOR_A_STANDBY = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"

# Beside other tests long before a write is given up; and within a second where nothing else runs.
IN_TIME = pytest.mark.parametrize(
    "seconds", [10, pytest.param(1, marks=[pytest.mark.proof, pytest.mark.alone])]
)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A pool of which two connections are for reads alone."""
    return settings.model_copy(update=POOL)


@IN_TIME
async def test_reads_are_answered_in_time_while_40_writes_wait_for_a_table(
    client: Client, db: "asyncpg.Connection", seconds: float
) -> None:
    author = await client.sign_up()
    paths = await create_posts(author)
    async with db.transaction():
        await db.execute("LOCK TABLE posts IN SHARE ROW EXCLUSIVE MODE")
        writing = await hang(author, paths, db, WAITING_FOR_THE_TABLE)
        await read(client, author, paths[0], seconds)
    assert {answer.status for answer in await asyncio.gather(*writing)} == {200}


@IN_TIME
async def test_reads_are_answered_in_time_while_creations_wait_for_a_table(
    client: Client, db: "asyncpg.Connection", seconds: float
) -> None:
    author = await client.sign_up()
    (path, *_) = await create_posts(author)
    post = {"title": "A title", "content": "Some content."}
    async with db.transaction():
        await db.execute("LOCK TABLE posts IN SHARE ROW EXCLUSIVE MODE")
        creating = [asyncio.create_task(author.post("/api/posts", post)) for _ in range(400)]

        async def the_rest_is_refused() -> bool:
            return sum(task.done() for task in creating) == 400 - MAX_CREATING

        await until(the_rest_is_refused)
        await read(client, author, path, seconds)
    statuses = Counter(answer.status for answer in await asyncio.gather(*creating))
    assert statuses == {201: MAX_CREATING, 503: 400 - MAX_CREATING}


@pytest.mark.proof
@pytest.mark.alone
async def test_reads_take_less_than_a_second_while_the_synchronous_standby_is_away(
    tmp_path: Path,
) -> None:
    with replicated() as (primary, _):
        settings = make_settings(database_url=primary.url(), data_dir=tmp_path, **POOL)
        await upgrade(settings)
        db = await asyncpg.connect(primary.url())
        async with running(settings) as app:
            author = await Client(app).sign_up()
            paths = await create_posts(author)
            await db.execute("ALTER SYSTEM SET synchronous_standby_names = 'absent'")
            await db.execute("SELECT pg_reload_conf()")
            writing = await hang(author, paths, db, WAITING_FOR_A_STANDBY)
            await read(Client(app), author, paths[0], 1)
            await db.execute("ALTER SYSTEM RESET synchronous_standby_names")
            await db.execute("SELECT pg_reload_conf()")
            assert {answer.status for answer in await asyncio.gather(*writing)} == {200}
        await db.close()


async def create_posts(author: Client) -> list[str]:
    """Create 40 posts. Returns their paths."""
    post = {"title": "A title", "content": "Some content."}
    answers = [await author.post("/api/posts", post) for _ in range(40)]
    return [answer.headers["Location"] for answer in answers]


async def hang(
    author: Client, paths: Sequence[str], db: "asyncpg.Connection", waiting: str
) -> "list[Task[Answer]]":
    """Begin a write of each post; returns when as many hang as may hold a connection."""
    # Changes, because posts that are created at the same time share a statement.
    writing = [asyncio.create_task(author.patch(path, {"title": "New"})) for path in paths]

    async def all_hang() -> bool:
        return bool(await db.fetchval(waiting) == WRITERS)

    await until(all_hang)
    return writing


async def read(client: Client, author: Client, post: str, seconds: float) -> None:
    """Read as many readers at once do, each kind of reads within so many seconds."""
    for reader, path in (
        (client, "/api/posts"),
        (client, post),
        (author, "/auth/me"),
        (client, "/api/posts?q=a"),
    ):
        async with asyncio.timeout(seconds):
            answers = await asyncio.gather(*(reader.get(path) for _ in range(10)))
        assert {answer.status for answer in answers} == {200}
