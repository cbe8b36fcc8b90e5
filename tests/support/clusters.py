"""Clusters of PostgreSQL 18 on data of their own, and scripts that use its programs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from service.embedded_postgres.binaries import find_binaries
from service.embedded_postgres.os_user import OsUser
from service.settings import PROJECT
from tests.support.command import environment
from tests.support.folders import passable_folder
from tests.support.postgres import Server, server_user

# They refuse to run as root, or make files that the server must read.
OF_THE_SERVER = ("initdb", "pg_basebackup", "pg_ctl", "pg_upgrade")


@dataclass
class Clusters:
    """A folder of clusters, each named by the folder of its data."""

    folder: Path
    os_user: OsUser = field(default_factory=server_user)

    def __post_init__(self) -> None:
        self.os_user.chown(self.folder)
        self.binaries = find_binaries(self.os_user)
        self._write_programs()

    def make(self, name: str, **settings: object) -> None:
        """Make a cluster, with these lines in its postgresql.conf, and not start it."""
        self._server(name).init()
        self.configure(name, **settings)

    def configure(self, name: str, **settings: object) -> None:
        """Add lines to a cluster's postgresql.conf."""
        with (self.folder / name / "postgresql.conf").open("a") as file:
            for key, value in settings.items():
                file.write(f"{key} = '{value}'\n")

    def start(self, name: str, socket: str) -> None:
        """Start a cluster that answers in the folder of this name."""
        place = self.folder / socket
        place.mkdir(exist_ok=True)
        self.os_user.chown(place)
        self._server(name, socket).start()

    def stop(self, name: str, mode: str = "fast") -> None:
        """Stop a cluster."""
        self._server(name).stop(mode)

    def url(self, socket: str, database: str = "service") -> str:
        """The address of a database of the cluster that answers in this folder."""
        return self._server("", socket).url(database)

    def _server(self, name: str, socket: str = "") -> Server:
        """A cluster's server; pg_upgrade takes clusters of one locale alone."""
        locale = ("--encoding=UTF8", "--locale=C")
        return Server(self.folder / name, socket=self.folder / socket, locale=locale)

    def run(self, script: str, **variables: object) -> str:
        """Run a script of bash that finds PostgreSQL's programs and `service`; its output."""
        path = f"{self.folder / 'programs'}:{self.binaries}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env=environment(path=path, data_dir=self.folder / "own", **variables),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout

    def _write_programs(self) -> None:
        """Programs of the server run as its user, and `service` as this one."""
        programs = self.folder / "programs"
        programs.mkdir()
        user = f"--reuid={self.os_user.uid} --regid={self.os_user.gid} --clear-groups"
        prefix = f"setpriv {user} " if self.os_user.dropped else ""
        lines = {name: f"{prefix}{self.binaries / name}" for name in OF_THE_SERVER}
        lines["service"] = f"env PYTHONPATH={PROJECT} {sys.executable} -m service"
        for name, command in lines.items():
            (programs / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            (programs / name).chmod(0o755)


@contextmanager
def clusters() -> Iterator[Clusters]:
    """A folder for clusters; at the end they are stopped and gone."""
    with passable_folder("clusters-") as folder:
        made = Clusters(folder)
        try:
            yield made
        finally:
            for running in folder.glob("*/postmaster.pid"):
                made.stop(running.parent.name, "immediate")
