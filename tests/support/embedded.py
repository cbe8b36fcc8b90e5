"""Clusters of the embedded PostgreSQL, and processes that use them."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg

from service.embedded_postgres import EmbeddedPostgres, supervisor
from service.settings import PROJECT
from tests.support.polling import PATIENCE

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


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
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


async def guard(server: EmbeddedPostgres, password: str) -> str:
    """Make a role whose password is another one; an address with both."""
    connection = await asyncpg.connect(server.url())
    try:
        await connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'the right one'")
        rules = Path(await connection.fetchval("SHOW hba_file"))
        rules.write_text(f"local all guarded scram-sha-256\n{rules.read_text()}")
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()
    url = server.url().replace("service@", f"guarded:{password}@")
    async with asyncio.timeout(PATIENCE):
        while True:  # until the server has read its rules again
            try:
                await (await asyncpg.connect(url)).close()
            except asyncpg.InvalidPasswordError:
                return url


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
