"""A large import that is killed in the middle and run again."""

import asyncio
import os
import re
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.settings import Settings
from tests.support.command import started
from tests.support.flask_import import everything, read_report
from tests.support.flask_service import an_id, fill, post, user
from tests.support.polling import until

USERS = 2_000
POSTS = 200_000
SLICE = 20_000
DIRTY = 500  # every 500th post has no author, a blank title, or too much content
WORK = 2.2  # of command and server, beside the server's alone for the same rows in one statement
GROWTH = 1.25  # of memory, from 40,000 posts to all


def dirty(number: int) -> dict[str, Any]:
    """What is wrong with a post, if anything."""
    kinds = ({"user_id": None}, {"title": " "}, {"content": "x" * 100_001})
    return kinds[number // DIRTY % 3] if number % DIRTY == 0 else {}


def fill_large(url: str) -> None:
    """Make the source; the last user's email is the first one's but for case.

    That one has no posts: they would be refused, too.
    """
    users = [user(number) for number in range(USERS)]
    users[-1] |= {"email": users[0]["email"].upper()}
    fill(url, users, [])
    for start in range(0, POSTS, SLICE):
        numbers = range(start, start + SLICE)
        fill(url, [], [post(n, author=n % (USERS - 1), **dirty(n)) for n in numbers])


def memory(pid: int) -> int:
    """The most memory that a process had so far, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1])


def cpu(pid: int) -> float:
    """Seconds of processor time that a process had so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def work_of_the_server_alone(db: "asyncpg.Connection[Any]") -> float:
    """Seconds of processor time in which the server inserts a post of those that are there again.

    Machines differ, so the import is measured by this and not by the clock.
    """
    server = await db.fetchval("SELECT pg_backend_pid()")
    transaction = db.transaction()
    await transaction.start()
    await db.execute("SET LOCAL service.post_events = 'off'")
    before = cpu(server)
    status = await db.execute(
        "INSERT INTO posts (id, author_id, title, content, created_at, updated_at) "
        f"SELECT gen_random_uuid(), author_id, title, content, created_at, updated_at FROM posts "
        f"LIMIT {POSTS // 2}"
    )
    worked = cpu(server) - before
    await transaction.rollback()
    return worked / int(status.split()[-1])


class Watch:
    """What the database's server knows about a running import."""

    def __init__(self, db: "asyncpg.Connection[Any]") -> None:
        self._db = db

    async def posts(self) -> int:
        """How many posts are in."""
        found: int = await self._db.fetchval("SELECT sum(posts)::bigint FROM post_counts")
        return found

    async def connection(self) -> int | None:
        """The process id of the other connection's server process."""
        found: int | None = await self._db.fetchval(
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return found

    async def reached(self, posts: int) -> None:
        """Wait until so many posts are in."""

        async def enough() -> bool:
            return await self.posts() >= posts

        await until(enough, seconds=600)

    async def gone(self) -> None:
        """Wait until the server has noticed that nobody is there any more."""

        async def alone() -> bool:
            return await self.connection() is None

        await until(alone, seconds=60)


@pytest.mark.proof
@pytest.mark.alone
@pytest.mark.timeout(1_800)
async def test_killed_import_resumes_with_little_work_of_its_own_in_flat_memory(
    settings: Settings, db: "asyncpg.Connection[Any]", old_url: str, tmp_path: Path
) -> None:
    await asyncio.to_thread(fill_large, old_url)
    arguments = ("import-flask", old_url, "--report=report.jsonl")
    place: dict[str, Any] = {"cwd": tmp_path, "database_url": settings.database_dsn}
    watch = Watch(db)
    good = POSTS - POSTS // DIRTY

    with started(*arguments, **place) as killed:
        await watch.reached(POSTS // 5)
        early = memory(killed.pid)
        killed.kill()
    await watch.gone()
    partly = await watch.posts()
    assert POSTS // 5 <= partly < good
    assert partly == await db.fetchval("SELECT count(*) FROM posts")

    with started(*arguments, **place) as second:
        await watch.reached(partly + 1)
        server = await watch.connection()
        assert server
        start, worked = time.monotonic(), cpu(second.pid) + cpu(server)
        first = await watch.posts()
        await watch.reached(good - 5_000)
        added = await watch.posts() - first
        seconds = time.monotonic() - start
        worked = cpu(second.pid) + cpu(server) - worked
        late = memory(second.pid)
        code, output = await asyncio.to_thread(second.finish, 120)
    assert code == 2, output
    assert f"Posts: {POSTS:,} read, {good - partly:,} added, {partly:,} here" in output
    report = read_report(tmp_path / "report.jsonl")
    assert len(report) == POSTS // DIRTY + 1
    assert report["users", an_id("user", USERS - 1)] == (
        f"email: the account {an_id('user', 0)} has it"
    )
    for table in ("post_counts", "author_post_counts"):
        assert await db.fetchval(f"SELECT sum(posts) FROM {table}") == good

    before = await everything(db)
    with started(*arguments, **place) as third:
        code, output = await asyncio.to_thread(third.finish, 600)
    assert code == 2
    assert f"Posts: {POSTS:,} read, 0 added, {good:,} here already" in output
    assert await everything(db) == before

    work = worked / added
    ratio = work / await work_of_the_server_alone(db)
    print(  # noqa: T201 - a proof tells its figures
        f"{work * 1e6:,.0f} µs a post, {ratio:.2f} times the server's alone; "
        f"{added / seconds:,.0f} posts per second by the clock; "
        f"memory {early:,} KiB after a fifth, {late:,} KiB at the end"
    )
    assert ratio < WORK
    assert late < early * GROWTH
