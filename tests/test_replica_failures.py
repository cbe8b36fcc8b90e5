"""A standby or a primary that is killed, frozen, promoted, busy or another: no read fails."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import asyncpg
import pytest
from sqlalchemy import func, select
from structlog.testing import capture_logs

from service.db.query import CompiledQuery
from service.db.replica.reads import ReplicaReads
from service.errors import Unavailable
from service.posts.models import Post
from service.testing.application import make_settings, running
from service.web.server.application import Service
from tests.support.client import Client, refused
from tests.support.polling import until
from tests.support.postgres import Server, url_to
from tests.support.replicas import (
    POST,
    Readers,
    is_listed,
    is_read,
    reading,
    replay_paused,
    replica_of,
)
from tests.support.replication import migrate, replicated

LOCKED = "SELECT 1 FROM pg_locks WHERE relation = 'posts'::regclass"

pytestmark = pytest.mark.proof


@pytest.mark.alone
@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_lost_replica_fails_no_request_and_is_read_again_once_back(
    pair: tuple[Server, Server], tmp_path: Path, fault: str
) -> None:
    _, standby = pair
    async with reading(pair, tmp_path, database_statement_timeout=5) as client:
        readers = Readers(client)
        async with readers.running():
            await readers.more(50)
            getattr(standby, fault)()
            await until(lambda: is_left(client.app))
            await readers.more(200)
            if fault == "kill":
                await asyncio.to_thread(standby.start)
            else:
                standby.thaw()
            await until(lambda: is_read(client.app))
        assert set(readers.statuses) == {200}
        assert readers.slowest < 2


async def is_left(app: Service) -> bool:
    return replica_of(app).refusal() == "down"


async def test_of_a_thousand_lists_the_primary_sees_hardly_one(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    async with reading(pair, tmp_path) as client:
        readers = Readers(client)
        async with readers.running():
            await readers.more(1_000)
        reads = replica_of(client.app).reads
        assert reads["primary"] < 0.05 * reads.total(), replica_of(client.app).fallbacks


@pytest.mark.alone
@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_anonymous_reads_go_on_while_the_primary_is_away(
    pair: tuple[Server, Server], tmp_path: Path, fault: str
) -> None:
    primary, _ = pair
    async with reading(pair, tmp_path, database_statement_timeout=2) as client:
        member = await client.sign_up()
        post = (await member.post("/api/posts", POST)).json
        await until(lambda: is_listed(client, post))
        readers = Readers(client)
        async with readers.running():
            getattr(primary, fault)()
            await until(lambda: is_away(client.app))
            await readers.more(300)
            refused(await client.get(f"/api/posts/{member.user['id']}"), 404)
            refused(await member.get("/auth/me"), 503)
            if fault == "kill":
                await asyncio.to_thread(primary.start)
            else:
                primary.thaw()
        assert set(readers.statuses) == {200}
        assert readers.slowest < 1
        await until(lambda: is_there(client.app))


@pytest.mark.parametrize("read", ["list", "post"])
async def test_primary_that_is_there_but_not_watched_reads_beyond_the_lag(
    pair: tuple[Server, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    async with reading(pair, tmp_path, database_replica_max_lag=0.5) as client:
        member = await client.sign_up()
        async with replay_paused(pair):
            await lose_primary_watch(pair, client.app, monkeypatch)
            post = (await member.post("/api/posts", POST)).json
            await until(lambda: is_behind(client.app))
            assert replica_of(client.app).watcher.lag > 0.5
            if read == "list":
                assert await is_listed(client, post)
            else:
                assert (await client.get(f"/api/posts/{post['id']}")).json == post


async def test_post_that_the_standby_lacks_is_asked_of_a_primary_that_is_not_watched(
    pair: tuple[Server, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        reading(pair, tmp_path, database_replica_max_lag=20) as client,
        reading(pair, tmp_path) as other,
    ):
        member = await other.sign_up()
        async with replay_paused(pair):
            await lose_primary_watch(pair, client.app, monkeypatch)
            post = (await member.post("/api/posts", POST)).json
            assert await is_away(client.app)
            assert (await client.get(f"/api/posts/{post['id']}")).json == post
            assert await is_there(client.app)


async def lose_primary_watch(
    pair: tuple[Server, Server], app: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """End the watcher's connection to the primary, and refuse the next ones."""

    async def refuse() -> None:
        raise Unavailable

    monkeypatch.setattr(replica_of(app).watcher, "_connect_to_primary", refuse)
    primary = await asyncpg.connect(pair[0].url())
    await primary.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE query LIKE '%pg_current_wal_flush_lsn%' AND pid <> pg_backend_pid()"
    )
    await primary.close()
    await until(lambda: is_away(app))


async def is_behind(app: Service) -> bool:
    return replica_of(app).refusal() == "lag"


async def is_away(app: Service) -> bool:
    return replica_of(app).watcher.progress.primary_away


async def is_there(app: Service) -> bool:
    return not await is_away(app)


async def test_read_that_conflicts_with_replay_is_the_primary_s(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    on_primary, on_standby = [await asyncpg.connect(node.url()) for node in pair]
    await on_standby.execute("ALTER SYSTEM SET max_standby_streaming_delay = 0")
    await on_standby.execute("SELECT pg_reload_conf()")
    async with reading(pair, tmp_path) as client:
        member = await client.sign_up()
        await until(lambda: is_listed_by(member, client))
        query = CompiledQuery(select(func.pg_sleep(1), Post.__table__.c.id).limit(1))
        reads = ReplicaReads(replica_of(client.app), client.app.database, None)
        rows = asyncio.create_task(reads.fetch_shared(query, {}, tuple))
        await until(
            lambda: on_standby.fetchval("SELECT 1 FROM pg_locks WHERE relation = 'posts'::regclass")
        )
        async with on_primary.transaction():
            await on_primary.execute("LOCK TABLE posts IN ACCESS EXCLUSIVE MODE")
        assert len(await rows) == 1
        assert replica_of(client.app).fallbacks["conflict"] == 1
    await on_standby.execute("ALTER SYSTEM RESET max_standby_streaming_delay")
    await on_standby.execute("SELECT pg_reload_conf()")
    for connection in (on_primary, on_standby):
        await connection.close()


async def test_read_that_finds_the_replica_s_pool_full_is_the_primary_s(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    async with reading(pair, tmp_path, database_pool_size=1) as client:
        replica = replica_of(client.app)
        sleeping = asyncio.create_task(
            replica.fetch_shared(CompiledQuery(select(func.pg_sleep(2))), {}, tuple)
        )
        start = monotonic()
        assert (await client.get("/api/posts")).status == 200
        assert monotonic() - start < 2
        assert replica.fallbacks["busy"] == 1
        await sleeping


async def test_standby_is_read_through_a_failover_and_only_as_a_standby(tmp_path: Path) -> None:
    with replicated() as (first, second):
        await migrate(first.url())
        both = url_to(first, second, query="connect_timeout=1")
        options = {"database_url": both, "database_replica_url": both}
        async with reading((first, second), tmp_path, **options) as client:
            readers = Readers(client)
            async with readers.running():
                await readers.more(50)
                first.stop("immediate")
                await readers.more(50)
                assert set(readers.statuses) == {200}
                await asyncio.to_thread(second.promote)
                await until(lambda: is_left(client.app))
                await until(lambda: is_there(client.app))
                await asyncio.to_thread(first.rebuild, second)
                await until(lambda: is_read(client.app))
                before = replica_of(client.app).reads["replica"]
                await readers.more(50)
            assert replica_of(client.app).reads["replica"] > before
            # While no server takes writes, and none is a standby, there is none to read.
            assert set(readers.statuses) <= {200, 503}


async def test_standby_of_another_cluster_is_not_read(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    with replicated() as others:
        await migrate(others[0].url())
        urls = {"database_url": pair[0].url(), "database_replica_url": others[1].url()}
        with capture_logs() as logs:
            async with running(make_settings(data_dir=tmp_path, **urls)) as app:
                await until(lambda: is_said(logs, "belongs to another cluster"))
                assert replica_of(app).refusal() == "down"


async def is_said(logs: Sequence[Mapping[str, Any]], words: str) -> bool:
    return any(words in line.get("reason", "") for line in logs)


async def test_service_ends_at_once_beside_a_frozen_standby(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    async with reading(pair, tmp_path):
        pair[1].freeze()
        start = monotonic()
    assert monotonic() - start < 3
    pair[1].thaw()


async def is_listed_by(member: Client, client: Client) -> bool:
    return await is_listed(client, (await member.post("/api/posts", POST)).json)
