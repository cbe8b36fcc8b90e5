"""The embedded PostgreSQL of development and tests; nothing in production imports it.

Any number of processes may start() the same folder at once: they share one server, which ends
with the last of them, also when that one is killed. It listens on no port, but on a socket in a
private folder, which only its user and root can open.
"""

import fcntl
import os
import subprocess
from pathlib import Path
from typing import Self
from urllib.parse import quote

from service.embedded_postgres import supervisor
from service.embedded_postgres.binaries import find_binaries
from service.embedded_postgres.cluster import OWNER, SETTINGS, Cluster, locked
from service.embedded_postgres.errors import EmbeddedError
from service.embedded_postgres.location import find_home

__all__ = ["EmbeddedError", "EmbeddedPostgres", "start"]


class EmbeddedPostgres:
    """This process's use of a running server, from start() to stop() or the process's end.

    `data_dir` is where the cluster, its log and its locks really lie.
    """

    def __init__(self, data_dir: Path, socket_dir: Path, users: int) -> None:
        self.data_dir = data_dir
        self._socket_dir = socket_dir
        self._users: int | None = users

    def url(self, database: str = OWNER) -> str:
        """The database's address, of a form that libpq, asyncpg and SQLAlchemy read."""
        name = quote(database, safe="")
        return f"postgresql://{OWNER}@/{name}?host={self._socket_dir}&port={SETTINGS['port']}"

    def stop(self) -> None:
        """End this use; the last one's returns when the server is down. Again: does nothing."""
        if self._users is None:
            return
        users, self._users = self._users, None
        try:
            with locked(self.data_dir):
                _leave(self.data_dir, users)
        finally:
            os.close(users)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(data_dir: Path, *, durable: bool = True) -> EmbeddedPostgres:
    """Start the server of `data_dir`, or join it when it runs; blocks up to a minute.

    A new folder gets a new cluster; the role and the database `service` are made. durable=False,
    for tests, gives up what protects the data when the machine crashes; it counts for the process
    that starts the server. Raises EmbeddedError.
    """
    try:
        home, os_user = find_home(data_dir.resolve())
        return _start(Cluster(home, os_user, find_binaries(os_user), durable))
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedError(f"The embedded PostgreSQL can't run in {data_dir}: {error}.") from error


def _start(cluster: Cluster) -> EmbeddedPostgres:
    with locked(cluster.home):
        users = supervisor.open_lock(cluster.home, "users")
        try:
            fcntl.flock(users, fcntl.LOCK_SH)
            postmaster = cluster.bring_up()
            cluster.create_database(postmaster)
        except BaseException:
            os.close(users)
            raise
    return EmbeddedPostgres(cluster.home, postmaster.socket_dir, users)


def _leave(home: Path, users: int) -> None:
    """Stop the server unless others use it, or wait for the supervisor to do so."""
    if not supervisor.try_lock(users) and supervisor.try_lock(users, fcntl.LOCK_SH):
        return
    if not supervisor.shut_down(home):
        raise EmbeddedError(f"PostgreSQL in {home} does not end.")
