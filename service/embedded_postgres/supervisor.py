"""The supervisor of an embedded PostgreSQL: its parent process, which ends it after its last user.

Run as a script, by its path, so it imports the standard library alone. Which processes live is
never read from process ids, which are reused and outlive their process as zombies, but from four
flocks in the cluster's folder; the kernel frees each when its last holder dies, however it dies:

start.lock       held while one process looks for, starts or stops the server
users.lock       shared by every process that uses the server; exclusive means that none does
server.lock      inherited by the postmaster and all its children: free means that none is left
supervisor.lock  held by the supervisor
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
LOG_LIMIT = 4 * 1024 * 1024  # bytes; there is at most one older file of this size beside it
TICK = 1.0  # seconds
# Seconds of patience with a fast shutdown, with an immediate one, and with the kernel.
ESCALATION = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))


class Postmaster(NamedTuple):
    """The contents of postmaster.pid, which may describe a server that is dead."""

    pid: int
    socket_dir: Path
    ready: bool


def data_of(home: Path) -> Path:
    """The cluster itself, PostgreSQL's PGDATA."""
    return home / "data"


def log_of(home: Path) -> Path:
    """Return the log of the server and the supervisor."""
    return home / "server.log"


def open_owned(home: Path, name: str, flags: int = os.O_RDWR) -> int:
    """Open a private file of the folder, made for the folder's owner, also by root."""
    fd = os.open(home / name, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if os.geteuid() == 0:
        owner = home.stat()
        os.fchown(fd, owner.st_uid, owner.st_gid)
    return fd


def open_lock(home: Path, name: str) -> int:
    """A descriptor of `<name>.lock`, not yet locked; closing it gives the lock up."""
    return open_owned(home, f"{name}.lock")


@contextlib.contextmanager
def opened(home: Path, name: str) -> Iterator[int]:
    """The descriptor of a lock, not yet locked, given up at the end."""
    lock = open_lock(home, name)
    try:
        yield lock
    finally:
        os.close(lock)


def try_lock(fd: int, operation: int = fcntl.LOCK_EX) -> bool:
    """Take the lock unless another open file holds it; a failure loses an older lock of `fd`."""
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read_postmaster(home: Path) -> Postmaster | None:
    """Return what postmaster.pid says; None when there is none, or none that is complete."""
    try:
        lines = (data_of(home) / "postmaster.pid").read_text(errors="surrogateescape").splitlines()
        return Postmaster(int(lines[0]), Path(lines[4]), lines[7].strip() == "ready")
    except (OSError, ValueError, IndexError):
        return None


def send(home: Path, number: int) -> bool:
    """Signal the postmaster, if the process of that id is one: its working folder is the data."""
    postmaster = read_postmaster(home)
    if postmaster is None:
        return False
    try:
        running_in = Path(f"/proc/{postmaster.pid}/cwd")
        if Path("/proc/self").exists() and not running_in.samefile(data_of(home)):
            return False
        os.kill(postmaster.pid, number)
    except OSError:
        return False
    return True


def shut_down(home: Path) -> bool:
    """End the server, for a caller that holds users.lock exclusively; whether it has ended."""
    socket_dir = getattr(read_postmaster(home), "socket_dir", None)
    with opened(home, "server") as server:
        stopped = any(_stop_with(home, server, *step) for step in ESCALATION)
    if stopped and socket_dir is not None and socket_dir.parent != home:
        with contextlib.suppress(OSError):
            socket_dir.rmdir()
    return stopped


def _stop_with(home: Path, server: int, number: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    sent = False
    while not (free := try_lock(server)) and time.monotonic() < deadline:
        sent = sent or send(home, number)
        time.sleep(0.01)
    return free


def trim(log: Path, limit: int = LOG_LIMIT) -> None:
    """Move a log of more than `limit` bytes aside; PostgreSQL appends, and goes on at its start."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > limit:
            shutil.copyfile(log, log.with_suffix(".log.1"), follow_symlinks=False)
            os.truncate(log, 0)


def _launch(command: list[str], server: int, os_user: str) -> subprocess.Popen[bytes]:
    who: dict[str, Any] = {}
    if os_user:
        uid, gid = map(int, os_user.split(":"))
        who = {"user": uid, "group": gid, "extra_groups": []}
    return subprocess.Popen(  # noqa: S603 - our own programs
        command,
        pass_fds=(server,),
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        cwd="/",
        env=ENVIRONMENT,
        start_new_session=True,
        **who,
    )


def _watch(home: Path, child: subprocess.Popen[bytes] | None) -> None:
    server = open_lock(home, "server")
    users = open_lock(home, "users")

    def tick(*_: object) -> None:
        if try_lock(server) if child is None else child.poll() is not None:
            os._exit(0)
        trim(log_of(home))

    signal.signal(signal.SIGCHLD, tick)
    signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
    tick()
    fcntl.flock(users, fcntl.LOCK_EX)  # waits, ticking, until the last user is gone
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.close(server)
    shut_down(home)


def main(home: Path, server: str, os_user: str, *command: str) -> None:
    """Guard the server of `home`, and start it first when there is a `command`.

    The locked supervisor.lock is inherited and never touched. `server` is the inherited descriptor
    of the locked server.lock, `os_user` is `uid:gid`, empty when root does not step down.
    """
    if os.fork():
        os._exit(0)
    trim(log_of(home))
    os.dup2(open_owned(home, log_of(home).name, os.O_WRONLY | os.O_APPEND), 2)
    child = None
    if command:
        child = _launch(list(command), int(server), os_user)
        os.close(int(server))
    _watch(home, child)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
