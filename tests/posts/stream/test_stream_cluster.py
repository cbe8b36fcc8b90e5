"""The stream on a database whose events another cluster wrote."""

import asyncpg
import pytest

from service.cli.database import upgrade
from service.settings import Settings
from tests.support.client import Client, refused
from tests.support.eventsource import EventSource
from tests.support.streams import write_post

# What a dump or logical replication from another cluster leaves.
ARRIVALS = {
    "another identifier": "UPDATE post_events_cluster SET system_identifier = 1",
    "no identifier": "DELETE FROM post_events_cluster",
    "transaction ids of the future": (
        "INSERT INTO post_events (horizon, kind) VALUES (1::bigint << 40, 'post.deleted')"
    ),
}
CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.mark.parametrize("arrival", list(ARRIVALS.values()), ids=list(ARRIVALS))
async def test_events_of_another_cluster_end_streams_and_begin_anew_by_migrating(
    port: int, author: Client, db: "asyncpg.Connection", settings: Settings, arrival: str
) -> None:
    source = EventSource(port)
    async with source.connected():
        await write_post(author)
        await source.next()
        await db.execute(arrival)
        await db.execute(CUT)
        assert await source.rest() == []
    message = refused(await author.get("/health/ready"), 503)["message"]
    assert "another database cluster" in message
    assert "service migrate" in message
    assert (await upgrade(settings)).adoption.events_begun_anew
    assert (await author.get("/health/ready")).status == 200
    async with source.connected():
        assert (await source.next()).kind == "reset"
        written = [await write_post(author) for _ in range(3)]
        assert [event.data for event in await source.take(3)] == written
    async with source.connected():
        written = [await write_post(author)]
        assert [event.data for event in await source.take(1)] == written
    assert not (await upgrade(settings)).adoption.events_begun_anew


async def test_stream_that_had_no_event_yet_gets_reset_on_another_cluster(
    port: int, author: Client, db: "asyncpg.Connection", settings: Settings
) -> None:
    source = EventSource(port)
    async with source.connected():
        assert source.last_id == "0-0"
    await db.execute(ARRIVALS["no identifier"])
    await upgrade(settings)
    await write_post(author)
    async with source.connected():
        assert (await source.next()).kind == "reset"
