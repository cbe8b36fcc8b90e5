"""The live stream, over real connections."""

from uuid import UUID, uuid4

import asyncpg
import pytest

from service.app import create_app
from service.posts.events import newest_position, read_page
from service.posts.models import CONTENT_MAX
from service.settings import Settings
from service.web.server.application import Service
from tests.support.client import Client
from tests.support.eventsource import EventSource, streaming
from tests.support.polling import until
from tests.support.server import exchange, head
from tests.support.streams import INSERT, open_streams, write_post


async def settled(db: "asyncpg.Connection") -> None:
    """Wait until no other database's transaction holds back what was written."""

    async def nothing_is_held_back() -> bool:
        return not (await read_page(db, await newest_position(db))).held_back

    await until(nothing_is_held_back)


async def test_stream_sends_every_change_as_the_api_shows_it(port: int, author: Client) -> None:
    odd = {"title": 'Quotes " \\ and \u2028 lines', "content": "a\r\nb\x01\u00fc\U0001f600"}
    async with EventSource(port).connected() as source:
        created = (await author.post("/api/posts", odd)).json
        path = f"/api/posts/{created['id']}"
        updated = (await author.put(path, {"title": "Another"})).json
        await author.put(path, {"title": "Another"})  # changes nothing: no event
        await author.delete(path)
        restored = (await author.post(f"{path}/restore")).json
        await author.post(f"{path}/restore")  # nor does this
        last = await write_post(author)
        events = await source.take(5)
    assert [(event.kind, event.data) for event in events] == [
        ("post.created", created),
        ("post.updated", updated),
        ("post.deleted", {"id": created["id"]}),
        ("post.restored", restored),
        ("post.created", last),
    ]


async def test_stream_sends_the_longest_post_whole(
    port: int, author: Client, db: "asyncpg.Connection"
) -> None:
    async with EventSource(port).connected() as source:
        # Each letter is six bytes of JSON.
        longest = {"title": "A title", "content": "\x01" * CONTENT_MAX}
        created = (await author.post("/api/posts", longest)).json
        short = await write_post(author)
        events = await source.take(2)
        await author.delete(f"/api/posts/{created['id']}")
        last = await source.next()
    assert [event.data for event in events] == [created, short]
    assert (last.kind, last.data) == ("post.deleted", {"id": created["id"]})
    assert await db.fetchval("SELECT max(octet_length(data)) < 1000 FROM post_events")
    source.last_id = "0-0"
    async with source.connected():
        assert [event.kind for event in await source.take(2)] == ["post.created", "post.deleted"]
        assert source.last_id == last.id


async def test_stream_s_headers_forbid_buffering(port: int) -> None:
    async with EventSource(port).connected() as source:
        lines = source.head.lower().splitlines()
    assert lines[0].split()[1] == "200"
    assert "content-type: text/event-stream" in lines
    assert "cache-control: no-cache" in lines
    assert "x-accel-buffering: no" in lines
    assert not any(line.startswith("content-length") for line in lines)


async def test_head_of_the_stream_gets_headers_alone(app: Service, port: int) -> None:
    answer = await exchange(port, head("HEAD", "/api/posts/stream"))
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.body == b""
    assert open_streams(app) == 0


async def test_new_stream_gets_only_later_events(
    port: int, author: Client, db: "asyncpg.Connection"
) -> None:
    await write_post(author)
    await settled(db)
    async with EventSource(port).connected() as first:
        await write_post(author)
        await first.next()
        async with EventSource(port).connected() as second:
            expected = await write_post(author)
            assert (await second.next()).data == expected


async def test_stream_resumes_with_neither_gap_nor_repeat(port: int, author: Client) -> None:
    source = EventSource(port)
    written = []
    async with source.connected():
        written.append(await write_post(author))
        seen = [await source.next()]
    written += [await write_post(author) for _ in range(3)]
    async with source.connected():
        seen += await source.take(2)
    written.append(await write_post(author))
    async with source.connected():
        seen += await source.take(2)
        written.append(await write_post(author))
        seen.append(await source.next())
    assert [event.data for event in seen] == written


async def test_stream_resumes_although_it_had_no_event_yet(port: int, author: Client) -> None:
    source = EventSource(port)
    async with source.connected():
        pass
    missed = await write_post(author)
    async with source.connected():
        assert (await source.next()).data == missed


@pytest.mark.parametrize(
    "last_id",
    ["nonsense", "7", "1-", "-1-2", "01-2", "999999999-1", f"{2**63}-1", f"{10**30}-1", "1-1", "é"],
)
async def test_unknown_last_event_id_gets_reset_and_goes_on(
    port: int, author: Client, last_id: str, db: "asyncpg.Connection"
) -> None:
    await write_post(author)
    await settled(db)
    source = EventSource(port, last_id)
    # The beginning and the reset come together, the first event after it alone.
    async with source.connected():
        reset = await source.next()
        assert (reset.kind, reset.data) == ("reset", {"reload": True})
        expected = await write_post(author)
        assert (await source.next()).data == expected
        written = await write_post(author)
    async with source.connected():
        assert (await source.next()).data == written


async def test_last_event_id_of_long_ago_gets_reset(
    port: int, author: Client, db: "asyncpg.Connection"
) -> None:
    source = EventSource(port)
    async with source.connected():
        await write_post(author)
        await source.next()
    await write_post(author)
    await settled(db)
    await db.execute("UPDATE post_events SET created_at = now() - interval '24 hours 1 second'")
    async with source.connected():
        assert (await source.next()).kind == "reset"


async def test_stream_silent_for_a_day_gets_reset_and_goes_on(
    port: int, author: Client, db: "asyncpg.Connection"
) -> None:
    source = EventSource(port)
    async with source.connected():
        await write_post(author)
        await source.next()
    await db.execute("UPDATE post_events SET created_at = now() - interval '30 hours'")
    async with source.connected():
        assert (await source.next()).kind == "reset"
        expected = await write_post(author)
        assert (await source.next()).data == expected


async def test_bulk_changes_and_changes_by_sql_are_events(
    port: int, author: Client, db: "asyncpg.Connection"
) -> None:
    ids = [(await write_post(author))["id"] for _ in range(3)]
    await settled(db)
    async with EventSource(port).connected() as source:
        await db.execute("UPDATE posts SET deleted_at = now()")
        await db.execute("UPDATE posts SET deleted_at = NULL")
        await db.execute("DELETE FROM posts WHERE id <> $1", UUID(ids[0]))
        await db.execute("UPDATE posts SET deleted_at = now()")
        await db.execute("DELETE FROM posts")  # nobody saw them any more
        last = await write_post(author)
        events = await source.take(10)
    kinds = [event.kind.removeprefix("post.") for event in events]
    assert kinds == ["deleted"] * 3 + ["restored"] * 3 + ["deleted"] * 3 + ["created"]
    assert sorted(event.data["id"] for event in events[:3]) == sorted(ids)
    assert events[-1].data == last


async def test_rolled_back_changes_and_quiet_loads_are_no_events(
    port: int, author: Client, db: "asyncpg.Connection"
) -> None:
    row = (uuid4(), UUID(author.user["id"]), "Title", "Content")
    async with EventSource(port).connected() as source:
        transaction = db.transaction()
        await transaction.start()
        await db.execute(INSERT, *row)
        await transaction.rollback()
        async with db.transaction():
            await db.execute("SET LOCAL service.post_events = 'off'")
            await db.execute(INSERT, *row)
        expected = await write_post(author)
        assert (await source.next()).data == expected


async def test_streams_of_every_process_send_every_change(
    settings: Settings, port: int, author: Client
) -> None:
    other = create_app(settings)
    async with (
        streaming(other) as other_port,
        EventSource(port).connected() as here,
        EventSource(other_port).connected() as there,
    ):
        expected = await write_post(author)
        assert (await here.next()).data == (await there.next()).data == expected
