"""A PostgreSQL of the operating system, which knows ICU's locales; the embedded one does not."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.embedded_postgres.os_user import OsUser, current_user, fallback_user

# Where Debian's packages put them, the newest version last.
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


@dataclass(frozen=True)
class SystemPostgres:
    """A running server."""

    socket_dir: Path

    def url(self, name: str) -> str:
        return f"postgresql://service@/{name}?host={self.socket_dir}&port=5432"


@contextmanager
def system_postgres() -> Iterator[SystemPostgres]:
    """The newest of the system's PostgreSQLs, on data of its own that is deleted at the end."""
    binaries = PROGRAMS[-1].parent
    user = fallback_user() if os.geteuid() == 0 else current_user()
    folder = Path(tempfile.mkdtemp(prefix="service-system-"))
    user.chown(folder)
    data = folder / "data"
    try:
        _run(user, binaries / "initdb", "-D", data, "-U", "service", "-E", "UTF8", "--locale=C")
        settings = f"-c fsync=off -c listen_addresses= -c unix_socket_directories={folder}"
        options = ("-l", folder / "log", "-o", settings)
        _run(user, binaries / "pg_ctl", "-D", data, *options, "-w", "start")
        try:
            yield SystemPostgres(folder)
        finally:
            _run(user, binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def _run(user: OsUser, *command: str | Path) -> None:
    done = user.run(command)
    assert done.returncode == 0, done.stdout
