"""A cluster's life: made by initdb, started under a supervisor, waited for."""

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from service.embedded_postgres import supervisor
from service.embedded_postgres.binaries import MAJOR
from service.embedded_postgres.errors import EmbeddedError
from service.embedded_postgres.location import SOCKET, socket_folder
from service.embedded_postgres.os_user import OsUser
from service.embedded_postgres.supervisor import Postmaster, data_of, log_of, opened

OWNER = "service"  # the role and its database
START_TIMEOUT = 60.0  # seconds: the recovery after a crash may take a while
SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
LOCALE = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
CREATE_DATABASE = rf"""
SELECT 'CREATE DATABASE "{OWNER}"'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{OWNER}') \gexec
"""  # noqa: S608 - made of constants


@dataclass(frozen=True)
class Cluster:
    """A cluster's folder, its user and its programs' folder, for a caller that holds start.lock.

    durable=False trades the safety of the data in a crash of the machine for speed.
    """

    home: Path
    os_user: OsUser
    binaries: Path
    durable: bool

    def bring_up(self) -> Postmaster:
        """Adopt the running server, or make the cluster where there is none and start one."""
        deadline = time.monotonic() + START_TIMEOUT
        launched = False
        while time.monotonic() < deadline:
            with opened(self.home, "server") as server:
                if supervisor.try_lock(server):
                    if launched:
                        raise EmbeddedError(_with_tail("PostgreSQL did not start", self.home))
                    self._launch(server, deadline)
                    launched = True
            if postmaster := self._answering():
                self._keep()
                return postmaster
            time.sleep(0.01)
        raise EmbeddedError(
            _with_tail(f"PostgreSQL was not ready within {START_TIMEOUT:.0f} s", self.home)
        )

    def create_database(self, postmaster: Postmaster) -> None:
        """Create the service's database unless it exists."""
        server = [f"--host={postmaster.socket_dir}", f"--port={SETTINGS['port']}"]
        options = ["-XqAt", "--set=ON_ERROR_STOP=1", f"--username={OWNER}", "--dbname=postgres"]
        done = self.os_user.run([self.binaries / "psql", *server, *options], CREATE_DATABASE)
        if done.returncode != 0:
            raise EmbeddedError(f"The database could not be made: {done.stdout.strip()}")

    def _launch(self, server: int, deadline: float) -> None:
        for leftover in self.home.glob("new-*"):  # of an initdb that was interrupted
            shutil.rmtree(leftover, ignore_errors=True)
        if not data_of(self.home).exists():
            self._init()
        self._check_version()
        settings = SETTINGS | ({} if self.durable else NOT_DURABLE)
        settings["unix_socket_directories"] = str(socket_folder(self.home, self.os_user))
        (data_of(self.home) / "postmaster.pid").unlink(missing_ok=True)
        options = [f"--{name}={value}" for name, value in settings.items()]
        command: list[str | Path] = [self.binaries / "postgres", "-D", data_of(self.home), *options]
        with opened(self.home, "supervisor") as lock:
            while not supervisor.try_lock(lock):  # the last one is about to end
                if time.monotonic() > deadline:
                    raise EmbeddedError(f"The last supervisor of {self.home} does not end.")
                time.sleep(0.01)
            self._start_supervisor(lock, server, command)

    def _start_supervisor(self, lock: int, server: int | None, command: list[str | Path]) -> None:
        os_user = f"{self.os_user.uid}:{self.os_user.gid}" if self.os_user.dropped else ""
        script = Path(supervisor.__file__).resolve()
        arguments = [self.home, "" if server is None else str(server), os_user, *command]
        subprocess.run(  # noqa: S603 - our own programs
            [sys.executable, "-I", "-S", script, *arguments],
            pass_fds=[lock] if server is None else [lock, server],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # Ctrl-C in the terminal is not for it
            check=True,
        )

    def _keep(self) -> None:
        """Give a server that lost its supervisor a new one."""
        with opened(self.home, "supervisor") as lock:
            if supervisor.try_lock(lock):
                self._start_supervisor(lock, None, [])

    def _answering(self) -> Postmaster | None:
        """Return the postmaster when it takes connections; a dead one's file may say "ready"."""
        postmaster = supervisor.read_postmaster(self.home)
        if postmaster is None or not postmaster.ready:
            return None
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(os.fspath(postmaster.socket_dir / SOCKET))
            except OSError:
                return None
        return postmaster

    def _init(self) -> None:
        partial = Path(tempfile.mkdtemp(prefix="new-", dir=self.home))
        self.os_user.chown(partial)
        options = [f"--username={OWNER}", "--auth=trust", "--no-instructions", *LOCALE]
        if not self.durable:
            options.append("--no-sync")
        try:
            done = self.os_user.run([self.binaries / "initdb", "-D", partial, *options])
            if done.returncode != 0:
                tail = "\n".join(done.stdout.splitlines()[-15:])
                raise EmbeddedError(f"The database could not be made in {self.home}:\n{tail}")
            partial.rename(data_of(self.home))
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        if self.durable:
            _sync(self.home)

    def _check_version(self) -> None:
        version = (data_of(self.home) / "PG_VERSION").read_text().strip()
        if version != str(MAJOR):
            raise EmbeddedError(
                f"The database in {self.home} is of PostgreSQL {version}, the installed programs "
                f"of {MAJOR}: export it with those of {version}, or set DATA_DIR to a new folder."
            )


@contextlib.contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold start.lock."""
    with opened(home, "start") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _with_tail(sentence: str, home: Path) -> str:
    try:
        lines = log_of(home).read_text(errors="replace").splitlines()[-15:]
    except OSError:
        lines = []
    return "\n".join([f"{sentence}; the end of {log_of(home)}:", *lines])
