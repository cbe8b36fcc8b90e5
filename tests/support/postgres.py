"""PostgreSQL servers on data of their own, to be killed, frozen, promoted and rebuilt."""

import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.embedded_postgres.binaries import find_binaries
from service.embedded_postgres.cluster import LOCALE, OWNER
from service.embedded_postgres.os_user import OsUser, current_user, fallback_user
from tests.support.folders import passable_folder

PORT = 5432
SETTINGS = {"fsync": "off", "max_connections": "50", "shared_buffers": "16MB"}
# Seconds in which killed processes are gone.
KILLED = 10


def server_user() -> OsUser:
    """The user that servers run as."""
    return fallback_user() if os.geteuid() == 0 else current_user()


@dataclass(frozen=True)
class Server:
    """A server by the folder of its data; on a port of 127.0.0.1, or a socket in a folder."""

    data: Path
    port: int = PORT
    socket: Path | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    locale: tuple[str, ...] = tuple(LOCALE)
    os_user: OsUser = field(default_factory=server_user)
    # The folder of PostgreSQL's programs; without it those of the embedded one.
    programs: Path | None = None

    @property
    def host(self) -> str:
        """The host and port that DATABASE_URL has for a server on a port."""
        return f"127.0.0.1:{self.port}"

    def url(self, database: str = "postgres") -> str:
        """The URL of a database on this server alone."""
        if self.socket is None:
            return url_to(self, name=database)
        return f"postgresql://{OWNER}@/{database}?host={self.socket}&port={self.port}"

    def init(self) -> None:
        """Make the data of a new cluster."""
        options = (f"--username={OWNER}", "--auth=trust", "--no-sync", "--no-instructions")
        self._run("initdb", "-D", self.data, *options, *self.locale)

    def start(self) -> None:
        """Start the server; returns when it takes connections, or follows its primary."""
        self._configure()
        self._ctl("-l", self.data.with_suffix(".log"), "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: `smart`, `fast`, or `immediate` as a crash does."""
        self._ctl("-m", mode, "-w", "stop")

    def reconfigure(self, **settings: object) -> None:
        """Change settings of the running server, until its next start."""
        with (self.data / "server.conf").open("a") as file:
            file.write(_lines(settings))
        self._ctl("reload")

    def promote(self) -> None:
        """Make a standby the primary; returns when it is."""
        self._ctl("-w", "promote")

    def freeze(self) -> None:
        """Stop all processes of the server, which keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the processes of a frozen server go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill all processes of the server; it can be started again at once."""
        killed = self._signal(signal.SIGKILL)
        deadline = time.monotonic() + KILLED
        while not all(map(_ended, killed)):
            assert time.monotonic() < deadline, f"{self.data} does not end"
            time.sleep(0.01)
        # The postmaster may be a zombie for a while, which another one would take for alive.
        (self.data / "postmaster.pid").unlink()
        if self.socket is not None:
            (self.socket / f".s.PGSQL.{self.port}.lock").unlink()

    def rebuild(self, primary: "Server") -> None:
        """Make a standby of another server, in place of whatever its data are; start it."""
        shutil.rmtree(self.data, ignore_errors=True)
        self._run(
            *("pg_basebackup", "-D", self.data, "-d", primary.url()),
            *("-R", "-c", "fast", "--no-sync"),
        )
        self.start()

    def end(self) -> None:
        """End the server, whatever its state is."""
        with suppress(FileNotFoundError, ProcessLookupError):
            self.kill()

    def _configure(self) -> None:
        own = {
            **SETTINGS,
            "port": self.port,
            "listen_addresses": "" if self.socket else "127.0.0.1",
            "unix_socket_directories": self.socket or "",
            **self.settings,
        }
        (self.data / "server.conf").write_text(_lines(own))
        main = self.data / "postgresql.conf"
        if "server.conf" not in (text := main.read_text()):
            main.write_text(f"{text}\ninclude = 'server.conf'\n")

    def _signal(self, number: signal.Signals) -> list[int]:
        """Send a signal to every process; returns their ids."""
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGSTOP)  # so that no child comes after the list
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        processes = [*map(int, children), postmaster]
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, number)
        return processes

    def _ctl(self, *arguments: str | Path) -> None:
        self._run("pg_ctl", "-D", self.data, *arguments)

    def _run(self, program: str, *arguments: str | Path) -> None:
        folder = self.programs or find_binaries(self.os_user)
        done = self.os_user.run([folder / program, *arguments])
        assert done.returncode == 0, done.stdout


@contextmanager
def postgres_server(**options: Any) -> Iterator[Server]:
    """A new server on a socket, running; at the end it is gone with its data."""
    with server_folder() as folder:
        server = Server(folder / "data", socket=folder, **options)
        try:
            server.init()
            server.start()
            yield server
        finally:
            server.end()


@contextmanager
def server_folder() -> Iterator[Path]:
    """A folder for data of servers."""
    with passable_folder("service-postgres-") as folder:
        server_user().chown(folder)
        yield folder


def url_to(*servers: Server, name: str = "postgres", query: str = "") -> str:
    """The URL of a database on several servers with ports, as DATABASE_URL takes it."""
    hosts = ",".join(server.host for server in servers)
    return f"postgresql://{OWNER}@{hosts}/{name}{'?' if query else ''}{query}"


def _lines(settings: Mapping[str, object]) -> str:
    return "".join(f"{name} = '{value}'\n" for name, value in settings.items())


def _ended(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"
