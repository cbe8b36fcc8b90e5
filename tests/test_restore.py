"""docs/backup.md by its own commands, while a process of the service lives through it."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg
import pytest

from service.app import create_app
from service.db import migrations
from service.db.engine import create_engine
from service.settings import PROJECT, Settings
from service.testing.application import make_settings
from tests.support.client import Client, refused
from tests.support.clusters import Clusters, clusters
from tests.support.eventsource import EventSource, streaming
from tests.support.polling import until
from tests.support.streams import write_post

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

PAGE = (PROJECT / "docs" / "backup.md").read_text()
AT_HEAD = "The schema is at head already.\n"
BEGUN_ANEW = (
    f"{AT_HEAD}The events of posts belonged to another database cluster: they begin anew.\n"
)
# So that the events' transaction ids are ones which a new cluster reaches much later.
SPEND_IDS = """
DO $$ BEGIN FOR i IN 1..20000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$
"""


def commands(title: str) -> list[str]:
    """The blocks of commands below a heading of docs/backup.md."""
    found = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, title
    return re.findall(r"^```sh$(.*?)^```$", found[1], re.MULTILINE | re.DOTALL)


@dataclass
class Story:
    """The service on a cluster that answers in the folder `live`, and one client of its stream."""

    clusters: Clusters
    port: int
    author: Client
    source: EventSource
    written: list[Any] = field(default_factory=list)

    async def run(self, script: str, **variables: object) -> str:
        return await asyncio.to_thread(self.clusters.run, script, **variables)

    async def swap(self, old: str, new: str, mode: str = "fast") -> None:
        """Stop one cluster, and start another in its place."""
        await asyncio.to_thread(self.clusters.stop, old, mode)
        await asyncio.to_thread(self.clusters.start, new, "live")

    async def write(self, count: int = 1) -> list[Any]:
        """Write posts, as soon as the database takes them."""

        async def answers() -> bool:
            return (await self.author.get("/api/posts")).status == 200

        await until(answers)
        posts = [await write_post(self.author) for _ in range(count)]
        self.written += posts
        return posts

    async def follows(self) -> None:
        """Assert that new posts come once each, in order."""
        posts = await self.write(3)
        assert [event.data for event in await self.source.take(3)] == posts

    async def resumes(self) -> None:
        """Assert that the client misses nothing and gets no `reset`."""
        posts = await self.write(2)
        async with self.connected():
            assert [event.data for event in await self.source.take(2)] == posts
            await self.follows()

    async def begins_anew(self, *, sequences: bool = False) -> None:
        """Assert that the service is not ready until `service migrate` ran, nor the client lost."""
        message = refused(await self.author.get("/health/ready"), 503)["message"]
        assert "another database cluster" in message
        (migrate,) = commands("Another cluster")
        url = self.clusters.url("live")
        said = await self.run(migrate, NEW_DATABASE_URL=url)
        assert said.startswith(BEGUN_ANEW), said
        assert ("pgqueuer_id_seq" in said) is sequences
        assert await self.run(migrate, NEW_DATABASE_URL=url) == AT_HEAD
        assert (await self.author.get("/health/ready")).status == 200
        assert (await self.author.register()).status == 201
        async with self.connected():
            assert (await self.source.next()).kind == "reset"
            await self.follows()
        await self.resumes()
        await self.has_all_posts()

    async def ready(self) -> bool:
        """Whether the service is ready."""
        return (await self.author.get("/health/ready")).status == 200

    async def has_all_posts(self) -> None:
        """Assert that every post that was written is there, and counted."""
        listed = (await self.author.get("/api/posts?per_page=100")).json
        assert [post["id"] for post in listed["posts"]] == [p["id"] for p in self.written[::-1]]
        assert listed["total"] == len(self.written)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """The client, once the service takes it again."""

        async def opens() -> bool:
            async with EventSource(self.port).connected() as trial:
                return " 200 " in trial.head

        await until(opens)
        async with self.source.connected():
            yield


@pytest.fixture
def made() -> Iterator[Clusters]:
    """A folder for clusters."""
    with clusters() as folder:
        yield folder


@pytest.fixture
async def story(made: Clusters) -> AsyncIterator[Story]:
    """The service on the cluster `old`, its client disconnected after some posts."""
    archive = made.folder / "archive"
    archive.mkdir()
    made.os_user.chown(archive)
    made.make(
        "old",
        wal_level="logical",
        archive_mode="on",
        archive_command=f"test ! -f {archive}/%f && cp %p {archive}/%f",
    )
    made.start("old", "live")
    made.run(
        'psql -q "$SERVER" --command="CREATE DATABASE service"', SERVER=made.url("live", "postgres")
    )
    settings = make_settings(database_url=made.url("live"), data_dir=made.folder)
    await migrate(settings)
    app = create_app(settings)
    async with streaming(app) as port:
        author = await Client(app).sign_up()
        living = Story(made, port, author, EventSource(port))
        await sql(settings, SPEND_IDS)
        async with living.connected():
            await living.follows()
        yield living


async def migrate(settings: Settings) -> None:
    engine = create_engine(settings)
    await migrations.upgrade(engine)
    await engine.dispose()


async def sql(settings_or_url: Settings | str, statement: str) -> Any:
    """The value of a statement."""
    url = settings_or_url if isinstance(settings_or_url, str) else settings_or_url.database_dsn
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def new_server(story: Story) -> dict[str, str]:
    """Start an empty cluster `new` beside the other, and what the commands call both."""
    await asyncio.to_thread(story.clusters.make, "new")
    await asyncio.to_thread(story.clusters.start, "new", "next")
    return {
        "DATABASE_URL": story.clusters.url("live"),
        "NEW_DATABASE_URL": story.clusters.url("next"),
        "NEW_SERVER_URL": story.clusters.url("next", "postgres"),
        "BACKUP": str(story.clusters.folder / "service.dump"),
    }


async def test_dump_is_restored_on_another_cluster(story: Story) -> None:
    names = await new_server(story)
    for block in commands("Dump and restore"):
        await story.run(block, **names)
    async with story.source.connected():
        await asyncio.to_thread(story.clusters.stop, "new")
        await story.swap("old", "new")
        assert await story.source.rest() == []
    await story.begins_anew()


async def test_data_moves_by_logical_replication(story: Story) -> None:
    names = await new_server(story)
    copy, ready, switch = commands("Logical replication")
    await story.run(copy, **names)
    await story.run(ready, **names)
    async with story.connected():
        await story.follows()  # the service goes on meanwhile
    await story.run(switch, **names)
    await asyncio.to_thread(story.clusters.stop, "new")
    await story.swap("old", "new")
    await story.begins_anew(sequences=True)


async def test_cluster_is_upgraded_by_pg_upgrade(story: Story) -> None:
    folder = story.clusters.folder
    names = {
        "DATA": str(folder / "old"),
        "NEW_DATA": str(folder / "new"),
        "OLD_BIN": str(story.clusters.binaries),
        "NEW_BIN": str(story.clusters.binaries),
        "NEW_DATABASE_URL": story.clusters.url("live"),
    }
    upgrade, start = commands("pg_upgrade")
    await story.run(upgrade, **names)
    story.clusters.configure("new", unix_socket_directories=folder / "live", listen_addresses="")
    await story.run(start, **names)
    await story.begins_anew()


async def test_point_in_time_recovery_is_the_same_cluster(story: Story) -> None:
    folder = story.clusters.folder
    names = {
        "DATABASE_URL": story.clusters.url("live"),
        "BACKUP": str(folder / "backup"),
        "DATA": str(folder / "old"),
        "ARCHIVE": str(folder / "archive"),
    }
    backup, restore = commands("Point in time recovery")
    await story.run(backup, **names)
    await story.write()
    async with story.connected():
        await story.source.take(1)
        kept = list(story.written)
        moment: datetime = await sql(names["DATABASE_URL"], "SELECT clock_timestamp()")
        other = EventSource(story.port, story.source.last_id)
        await story.follows()  # what is lost
    await story.run(restore, **names, TIME=moment.isoformat(" "))
    await until(story.ready)  # the server starts as a standby, and ends that by itself
    story.written = kept
    assert await story.run("service migrate", **names) == AT_HEAD
    async with story.connected():
        assert (await story.source.next()).kind == "reset"
    story.source = other
    await story.resumes()
    await story.has_all_posts()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_restart_and_failover_are_the_same_cluster(story: Story, mode: str) -> None:
    await story.swap("old", "old", mode)
    await story.resumes()
    standby = (
        'pg_basebackup --dbname="$DATABASE_URL" --pgdata=standby --write-recovery-conf -c fast'
    )
    url = story.clusters.url("live")
    await story.run(standby, DATABASE_URL=url)
    await asyncio.to_thread(story.clusters.start, "standby", "next")
    posts = await story.write(2)
    position = "SELECT pg_current_wal_flush_lsn()::text"
    last = await sql(url, position)
    replayed = f"SELECT pg_last_wal_replay_lsn() >= '{last}'"
    await until(lambda: sql(story.clusters.url("next"), replayed))
    await story.run("pg_ctl --pgdata=standby stop")
    await story.swap("old", "standby", mode)
    await story.run("pg_ctl --pgdata=standby --wait promote")
    async with story.connected():
        assert [event.data for event in await story.source.take(2)] == posts
        await story.follows()
    assert await story.run("service migrate", DATABASE_URL=url) == AT_HEAD
    await story.has_all_posts()
