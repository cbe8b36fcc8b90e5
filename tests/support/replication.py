"""A primary and its streaming standby: real servers that are killed, frozen and promoted.

They are made by the embedded PostgreSQL's programs, and listen on ports of 127.0.0.1.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from service.db import migrations
from service.db.engine import create_engine
from service.embedded_postgres.binaries import find_binaries
from service.embedded_postgres.cluster import LOCALE, OWNER
from service.embedded_postgres.os_user import OsUser, current_user, fallback_user
from service.testing.application import make_settings
from tests.support.processes import free_port

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "shared_buffers": "16MB",
    "wal_keep_size": "256MB",
}


@dataclass(frozen=True)
class Node:
    """One server, and the folder of its data."""

    user: OsUser
    data: Path
    port: int

    @property
    def host(self) -> str:
        """What DATABASE_URL has for it."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The URL of the database `postgres` on this server alone."""
        return url_to(self)

    def start(self) -> None:
        """Start it; returns when it takes connections."""
        options = " ".join(f"-c {n}={v or chr(39) * 2}" for n, v in SETTINGS.items())
        log = self.data.with_suffix(".log")
        self._ctl("-l", log, "-o", f"-p {self.port} {options}", "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it: `smart`, `fast`, or `immediate` as a crash does."""
        self._ctl("-m", mode, "-w", "stop")

    def promote(self) -> None:
        """Make a standby the primary; returns when it is."""
        self._ctl("-w", "promote")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all its processes: SIGKILL, or SIGSTOP and SIGCONT for a freeze."""
        for pid in self._processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def rebuild(self, primary: "Node") -> None:
        """Make a standby of another server, in place of whatever its data are; start it."""
        shutil.rmtree(self.data, ignore_errors=True)
        source = f"host=127.0.0.1 port={primary.port} user={OWNER}"
        self._run("pg_basebackup", "-D", self.data, "-d", source, "-R", "-c", "fast", "--no-sync")
        self.start()

    def _processes(self) -> list[int]:
        postmaster = (self.data / "postmaster.pid").read_text().split()[0]
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        return [int(postmaster), *map(int, children)]

    def init(self) -> None:
        """Make the data of a new cluster."""
        options = (f"--username={OWNER}", "--auth=trust", "--no-sync", "--no-instructions")
        self._run("initdb", "-D", self.data, *options, *LOCALE)

    def end(self) -> None:
        """End it, whatever its state is."""
        with suppress(FileNotFoundError):
            self.signal(signal.SIGCONT)
            self.stop("immediate")

    def _ctl(self, *arguments: str | Path) -> None:
        self._run("pg_ctl", "-D", self.data, *arguments)

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = self.user.run([find_binaries(self.user) / program, *arguments])
        assert done.returncode == 0, done.stdout


def url_to(*nodes: Node, name: str = "postgres", query: str = "") -> str:
    """The URL of a database on the servers, as DATABASE_URL takes it."""
    hosts = ",".join(node.host for node in nodes)
    return f"postgresql://{OWNER}@{hosts}/{name}{'?' if query else ''}{query}"


async def migrate(url: str) -> None:
    """Bring the database to head."""
    engine = create_engine(make_settings(database_url=url), migrating=True)
    await migrations.upgrade(engine)
    await engine.dispose()


@contextmanager
def replicated() -> Iterator[tuple[Node, Node]]:
    """A primary and its standby, both running; at the end both are gone with their data."""
    user = fallback_user() if os.geteuid() == 0 else current_user()
    folder = Path(tempfile.mkdtemp(prefix="service-replicated-"))
    user.chown(folder)
    nodes = [Node(user, folder / name, free_port()) for name in ("first", "second")]
    primary, standby = nodes
    try:
        primary.init()
        primary.start()
        standby.rebuild(primary)
        yield primary, standby
    finally:
        for node in nodes:
            node.end()
        shutil.rmtree(folder)
