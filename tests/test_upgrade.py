"""An upgrade while clients read and write: the schema first, then one process after the other."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from service.embedded_postgres.binaries import find_binaries
from service.embedded_postgres.os_user import current_user
from service.settings import PROJECT
from tests.support.command import started
from tests.support.load import Load, read_or_write
from tests.support.migrating import OtherRelease
from tests.support.polling import until
from tests.support.processes import Connection, ServiceProcess, service_process
from tests.support.proxies import balanced, in_use
from tests.support.server import RawAnswer

CLIENTS = 32
# Patient, so that a busy machine does not look like a lost request.
REPLICA = {"trusted_proxies": 1, "database_pool_size": 5, "database_pool_timeout": 30}
ADD_COLUMN = """
op.execute("ALTER TABLE posts ADD COLUMN summary text NOT NULL DEFAULT ''")
"""
CREATE_INDEX = """
from service.db.concurrent_index import create_index_concurrently

create_index_concurrently("ix_posts_summary", "posts", ["summary"])
"""
# More than a pipe holds, in the first of the tables that a dump writes.
BULK = "CREATE TABLE a_bulk AS SELECT repeat('x', 1000) FROM generate_series(1, 500)"
DUMP_READS = """
    SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE application_name = 'pg_dump' AND relation = 'posts'::regclass AND locktype = 'relation'
"""

pytestmark = pytest.mark.proof


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """The code of a release with two migrations more."""
    copy = tmp_path / "newer"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "service", copy / "service", ignore=ignored)
    release = OtherRelease(copy / "alembic")
    release.add(ADD_COLUMN)
    release.add(CREATE_INDEX)
    shutil.copy(PROJECT / "alembic.ini", copy)
    return copy


async def migrate(url: str, folder: Path, project: Path) -> None:
    """Run `service migrate` of a release to its end."""
    with started("migrate", cwd=folder, project=project, database_url=url) as process:
        code, output = await asyncio.to_thread(process.finish)
    assert code == 0, output


async def read(client: Connection, _number: int) -> RawAnswer:
    return await client.request("GET", "/api/posts?per_page=5")


async def test_upgrade_under_load_fails_no_request(
    database_url: str, db: "asyncpg.Connection", tmp_path: Path, newer: Path
) -> None:
    async with (
        service_process(database_url, tmp_path, **REPLICA) as first,
        service_process(database_url, tmp_path, **REPLICA) as second,
        balanced(tmp_path, first, second) as (port, statistics),
    ):
        async with Connection(port) as author:
            await author.sign_up("ada")
        load = Load(port, author.token, read_or_write)
        replicas = [replaced(old, newer) for old in (first, second)]
        try:
            async with load.running(CLIENTS):
                await load.reach(300, 60)
                await migrate(database_url, tmp_path, newer)
                await load.reach(load.done + 300, 60)
                # Neither has left for a moment, which the balancer would have counted.
                assert await in_use(statistics, 2)
                for old, new in zip((first, second), replicas, strict=True):
                    old.terminate()
                    assert (await old.ended())[0] == 0
                    await new.start()
                    await until(lambda: in_use(statistics, 2))
                    await load.reach(load.done + 300, 60)
        finally:
            for new in replicas:
                if hasattr(new, "process"):
                    await new.kill()
    print(f"{load.done} requests over the upgrade, {load.created} writes")  # noqa: T201
    assert not load.failed
    assert await db.fetchval("SELECT count(*) FROM posts WHERE summary = ''") == load.created


def replaced(old: ServiceProcess, project: Path) -> ServiceProcess:
    """The process of another release that takes a process's place."""
    return ServiceProcess(old.url, old.folder, {}, {**REPLICA, "pythonpath": project}, old.port)


@contextmanager
def dumping(url: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A pg_dump that goes on only as its output is read."""
    pg_dump = find_binaries(current_user()) / "pg_dump"
    with subprocess.Popen([pg_dump, url], stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.alone
async def test_no_read_waits_long_for_a_migration_that_waits_for_a_dump(
    database_url: str, db: "asyncpg.Connection", tmp_path: Path, newer: Path
) -> None:
    await db.execute(BULK)
    async with service_process(database_url, tmp_path, **REPLICA) as service:
        load = Load(service.port, "", read)
        options = {"cwd": tmp_path, "project": newer, "database_url": database_url}
        async with load.running(4):
            with dumping(database_url) as dump, started("migrate", **options) as migration:
                await until(lambda: db.fetchval(DUMP_READS))
                for _ in range(2):
                    words = "posts is held by process "
                    held = await asyncio.to_thread(migration.until, words, errors=True)
                    assert "(pg_dump), in a transaction for" in held
                await asyncio.to_thread(dump.communicate)
                code, output = await asyncio.to_thread(migration.finish)
        assert (code, dump.returncode) == (0, 0), output
    print(f"the slowest of {load.done} reads took {load.slowest:.1f} s")  # noqa: T201
    assert not load.failed
    assert load.slowest < 4
