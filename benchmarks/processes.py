"""Starting servers, and the scheduler's account of the CPU time that they and PostgreSQL spend."""

import os
import signal
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

TICKS = os.sysconf("SC_CLK_TCK")
CPUCLOCK_SCHED = 2


class ServerError(Exception):
    """A server did not start, or did not stay up; the message ends with its own last words."""


def fields(pid: int) -> list[str]:
    """Fields 3 and on of /proc/PID/stat, see proc(5); the name before them may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def parent(pid: int) -> int:
    return int(fields(pid)[1])


def cpu_seconds(pid: int) -> float:
    """CPU time of one process, all threads, ended ones too, and of children it has waited for.

    The first part has nanoseconds: the clock id is the one that clock_getcpuclockid(3) makes.
    """
    own = time.clock_gettime_ns((~pid << 3) | CPUCLOCK_SCHED) / 1e9
    user, system = fields(pid)[13:15]
    return own + (int(user) + int(system)) / TICKS


def descendants(root: int) -> Iterable[int]:
    """The process and everything below it."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                children[parent(int(entry.name))].append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    pending = [root]
    while pending:
        pid = pending.pop()
        pending += children[pid]
        yield pid


def tree_cpu_seconds(roots: Iterable[int]) -> float:
    """CPU time of whole process trees: what still runs and what has been waited for."""
    total = 0.0
    for root in roots:
        for pid in descendants(root):
            try:
                total += cpu_seconds(pid)
            except OSError:
                continue  # it ended just now: its parent's account has it
    return total


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that are free now and differ from each other."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(listener.getsockname()[1]) for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


class Server:
    """One command that serves a port, with a log file of its own; ended with its whole group."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], cwd: Path, log: Path
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def check(self) -> None:
        """Raise ServerError when the process has ended."""
        if self.process.poll() is not None:
            words = self.log.read_text(errors="replace")[-2000:]
            raise ServerError(f"{self.log.stem} ended with {self.process.returncode}:\n{words}")

    def stop(self, timeout: float = 10) -> None:
        """End it politely, and after `timeout` seconds for good."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
