"""The embedded PostgreSQL under real kills: one server for all, ended with the last of them."""

import fcntl
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from service import embedded_postgres
from service.embedded_postgres import supervisor
from tests.support.embedded import Owner, free, postmaster_pid, supervisor_pids, until, value


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
    until(lambda: free(home, "server"))
    until(lambda: supervisor_pids(home) == [])
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


@pytest.mark.proof
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


@pytest.mark.proof
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


@pytest.mark.proof
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
    until(lambda: free(home, "server"))


@pytest.mark.proof
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


@pytest.mark.proof
async def test_interrupt_from_the_terminal_leaves_the_server_to_its_owner(
    data_dir: Path, owner: Callable[[], Owner]
) -> None:
    interrupted = owner()
    url = interrupted.line()
    assert str(data_dir) in url
    os.killpg(interrupted.process.pid, signal.SIGINT)
    assert interrupted.line() == "interrupted"
    assert await value(url, "SELECT 1") == 1
    assert interrupted.leave() == "left"


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


def test_shared_locks_of_users_do_not_exclude_one_another(data_dir: Path) -> None:
    """A lock is free as soon as the last descriptor closes, and shared users do not exclude."""
    one, two = (supervisor.open_lock(data_dir, "users") for _ in range(2))
    assert supervisor.try_lock(one, fcntl.LOCK_SH)
    assert supervisor.try_lock(two, fcntl.LOCK_SH)
    assert not supervisor.try_lock(two)
    os.close(one)
    assert supervisor.try_lock(two)
    os.close(two)
