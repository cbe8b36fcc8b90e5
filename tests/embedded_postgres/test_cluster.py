"""The embedded PostgreSQL: a new cluster, and what keeps one from starting."""

import importlib.metadata
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from service import embedded_postgres
from service.embedded_postgres import EmbeddedError, EmbeddedPostgres, binaries
from tests.support.embedded import OWNER, PYTHONPATH, Owner, free, postmaster_pid, until, value


async def test_new_cluster_is_utf8_and_its_data_survives_a_stop(data_dir: Path) -> None:
    with embedded_postgres.start(data_dir) as server:
        assert await value(server, "SHOW server_encoding") == "UTF8"
        assert await value(server, "SELECT lower('ÄÉ')") == "äé"
        assert await value(server, "SHOW fsync") == "on"
        assert await value(server, "SELECT current_user || current_database()") == "serviceservice"
        await value(server, "CREATE TABLE kept AS SELECT 'ß☃' AS word")
    assert free(server.data_dir, "server")
    with embedded_postgres.start(data_dir, durable=False) as server:
        assert await value(server, "SELECT word FROM kept") == "ß☃"
        assert await value(server, "SHOW fsync") == "off"
        assert int(await value(server, "SHOW max_connections")) >= 200
    assert server.data_dir == data_dir / "postgres"


async def test_dropped_database_is_made_again(running: EmbeddedPostgres) -> None:
    await value(running.url("postgres"), "DROP DATABASE service")
    with embedded_postgres.start(running.data_dir.parent):
        assert await value(running, "SELECT 1") == 1


async def test_sqlalchemy_takes_the_embedded_url(running: EmbeddedPostgres) -> None:
    url = make_url(running.url()).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT current_database()")) == "service"
    await engine.dispose()


async def test_server_listens_on_a_private_socket_alone(running: EmbeddedPostgres) -> None:
    assert await value(running, "SHOW listen_addresses") == ""
    directory = Path(await value(running, "SHOW unix_socket_directories"))
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    descriptors = Path(f"/proc/{postmaster_pid(running.data_dir)}/fd").iterdir()
    links = [str(descriptor.readlink()) for descriptor in descriptors]
    sockets = {link[8:-1] for link in links if link.startswith("socket:[")}
    assert sockets
    for table in ("tcp", "tcp6"):
        rows = Path("/proc/net", table).read_text().splitlines()[1:]
        assert sockets.isdisjoint(row.split()[9] for row in rows)


async def test_interrupted_initdb_is_begun_anew(data_dir: Path, owner: Callable[[], Owner]) -> None:
    home = data_dir / "postgres"
    killed = owner()
    until(lambda: list(home.glob("new-*/base")))
    killed.kill_group()
    assert killed.line() == ""
    assert not (home / "data").exists()
    with embedded_postgres.start(data_dir, durable=False) as server:
        assert await value(server, "SELECT 1") == 1
    assert list(home.glob("new-*")) == []


def test_cluster_of_another_major_version_is_refused(data_dir: Path) -> None:
    (data_dir / "postgres" / "data").mkdir(parents=True)
    (data_dir / "postgres" / "data" / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedError, match="is of PostgreSQL 16, the installed programs of 18"):
        embedded_postgres.start(data_dir)
    assert free(data_dir / "postgres", "users")


def test_missing_wheel_is_reported(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(binaries, "distribution", missing)
    with pytest.raises(EmbeddedError, match="install the extra `embedded`, or set DATABASE_URL"):
        embedded_postgres.start(data_dir)


def test_full_disk_is_reported_with_initdb_s_output(data_dir: Path) -> None:
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
    done = subprocess.run(
        [sys.executable, "-c", limited + OWNER, data_dir],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | PYTHONPATH,
        check=False,
    )
    assert f"EmbeddedError: The database could not be made in {data_dir}/postgres:" in done.stdout
    assert "initdb: " in done.stdout
    assert list((data_dir / "postgres").glob("new-*")) == []


def test_server_that_does_not_start_is_reported_with_its_log(data_dir: Path) -> None:
    (data_dir / "postgres" / "data").mkdir(parents=True)
    (data_dir / "postgres" / "data" / "PG_VERSION").write_text("18\n")
    with pytest.raises(EmbeddedError, match=r"did not start.*\n(.*\n)*.*postgresql\.conf"):
        embedded_postgres.start(data_dir)
    until(lambda: free(data_dir / "postgres", "supervisor"))


async def test_stopping_the_server_twice_is_harmless(running: EmbeddedPostgres) -> None:
    other = embedded_postgres.start(running.data_dir.parent)
    other.stop()
    other.stop()
    assert await value(running, "SELECT 1") == 1
