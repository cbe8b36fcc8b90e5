"""The operating-system user of the server: PostgreSQL refuses to run as root."""

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.embedded_postgres.errors import EmbeddedError
from service.embedded_postgres.supervisor import ENVIRONMENT

UNPRIVILEGED = "nobody"


@dataclass(frozen=True)
class OsUser:
    """A user by number and name; `dropped` when root steps down to it."""

    uid: int
    gid: int
    name: str
    dropped: bool

    def run(
        self, command: Sequence[str | Path], text: str = "", seconds: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as this user with `text` as its input; stderr goes into stdout."""
        return subprocess.run(  # noqa: S603 - our own programs
            command,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            cwd="/",
            env=ENVIRONMENT,
            user=self.uid if self.dropped else None,
            group=self.gid if self.dropped else None,
            extra_groups=[] if self.dropped else None,
        )

    def can_reach(self, folder: Path) -> bool:
        """Whether this user can pass through the folder and all those above it."""
        if not self.dropped:
            return True
        return self.run(["/bin/sh", "-c", 'test -x "$1"', "sh", folder]).returncode == 0

    def chown(self, folder: Path) -> None:
        """Make root's new folder this user's own."""
        if self.dropped:
            os.chown(folder, self.uid, self.gid, follow_symlinks=False)


def current_user() -> OsUser:
    """Return this process's user, which is not root. Raises EmbeddedError when it has no name."""
    uid = os.geteuid()
    try:
        return OsUser(uid, os.getegid(), pwd.getpwuid(uid).pw_name, dropped=False)
    except KeyError:
        raise EmbeddedError(
            f"The embedded PostgreSQL can't run as user id {uid}, which has no entry in "
            "/etc/passwd: add one, or set DATABASE_URL."
        ) from None


def fallback_user(*folders: Path) -> OsUser:
    """Return the user that root steps down to: the first owner that is not root, else `nobody`."""
    for folder in folders:
        if folder.is_dir() and (uid := folder.lstat().st_uid) != 0:
            try:
                return _dropped(pwd.getpwuid(uid))
            except KeyError:
                continue
    try:
        return _dropped(pwd.getpwnam(UNPRIVILEGED))
    except KeyError:
        raise EmbeddedError(
            f"PostgreSQL can't run as root and there is no user {UNPRIVILEGED} to run it: "
            "start the service as an ordinary user, or set DATABASE_URL."
        ) from None


def _dropped(entry: pwd.struct_passwd) -> OsUser:
    return OsUser(entry.pw_uid, entry.pw_gid, entry.pw_name, dropped=True)
