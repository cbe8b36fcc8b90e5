"""One PostgreSQL for a whole run of pytest, and databases on it that are made in milliseconds."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final
from uuid import uuid4

import asyncpg

from service.db import migrations
from service.db.connecting import open_connection
from service.db.engine import create_engine
from service.embedded_postgres import EmbeddedPostgres, start
from service.testing.application import make_settings
from service.testing.background import BackgroundLoop

MEMORY: Final = Path("/dev/shm")  # noqa: S108
ROOM: Final = 4 * 2**30  # bytes
TEMPLATE: Final = "service_template"


@dataclass(frozen=True)
class ServiceDatabase:
    """A database of a test's own; `url` is what DATABASE_URL takes."""

    name: str
    url: str


class Databases:
    """Makes databases on a running server, by a connection that lives in a loop of its own."""

    def __init__(self, server: EmbeddedPostgres, loop: BackgroundLoop) -> None:
        self.server = server
        self._loop = loop
        settings = make_settings(database_url=server.url("postgres"))
        self._admin: asyncpg.Connection[Any] = loop.run(open_connection(settings))

    @contextmanager
    def database(self, *, migrated: bool = True, options: str = "") -> Iterator[ServiceDatabase]:
        """A new database, dropped at the end; one that is not migrated has nothing in it.

        With options of CREATE DATABASE, such as a locale, it is migrated by itself, which takes
        longer.
        """
        name = f"test_{uuid4().hex}"
        # A tenth of the time that copying through the write-ahead log takes.
        source = f"TEMPLATE {TEMPLATE} STRATEGY file_copy" if migrated and not options else ""
        self._execute(f"CREATE DATABASE {name} {source} {options}")
        try:
            if migrated and options:
                self._loop.run(_migrate(self.server.url(name)))
            yield ServiceDatabase(name, self.server.url(name))
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def make_template(self) -> None:
        """Make the database that the others are copies of; for one process at a time."""
        if self._loop.run(
            self._admin.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", TEMPLATE)
        ):
            return
        unfinished = f"new_{uuid4().hex}"
        self._execute(f"CREATE DATABASE {unfinished}")
        self._loop.run(_migrate(self.server.url(unfinished)))
        self._execute(f"ALTER DATABASE {unfinished} RENAME TO {TEMPLATE}")

    def close(self) -> None:
        """Close the connection."""
        self._loop.run(self._admin.close())

    def _execute(self, statement: str) -> None:
        self._loop.run(self._admin.execute(statement))


@contextmanager
def run_databases(run: Path, loop: BackgroundLoop) -> Iterator[Databases]:
    """Databases for the run of pytest that has this folder, on one server for all its processes.

    The first process starts the server and migrates the template; the last one stops the server
    and deletes its data.
    """
    state = run / "service-postgres"
    with _locked(state) as file:
        folder = Path(file.read() or _make_folder())
        _write(file, str(folder))
        server = start(folder, durable=False)
        databases = Databases(server, loop)
        databases.make_template()
    try:
        yield databases
    finally:
        databases.close()
        with _locked(state) as file:
            server.stop()
            if not (server.data_dir / "data" / "postmaster.pid").exists():
                shutil.rmtree(folder)
                _write(file, "")


async def _migrate(url: str) -> None:
    engine = create_engine(make_settings(database_url=url), migrating=True)
    await migrations.upgrade(engine)
    await engine.dispose()


def _make_folder() -> str:
    """A folder for the server, in memory where there is room.

    Not below pytest's own, which only its user may enter: under root the server is another user.
    """
    in_memory = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM
    parent = MEMORY if in_memory else Path(tempfile.gettempdir())
    folder = tempfile.mkdtemp(prefix="service-testing-", dir=parent)
    Path(folder).chmod(0o711)
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[IO[str]]:
    """A file that one process at a time has open."""
    with path.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        yield file


def _write(file: IO[str], text: str) -> None:
    file.truncate(0)
    file.write(text)
    file.flush()
