"""The `service` command as a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from click.testing import Result

from service.settings import PROJECT, Settings
from service.testing.application import SECRET
from tests.support.polling import PATIENCE

# Runs a command in this process: the fixture `invoke`.
Invoke = Callable[..., Result]
FROM_OUTSIDE = {name.upper() for name in Settings.model_fields}
# What production needs, beside a database.
PRODUCTION: Final = {
    "service_env": "production",
    "secret_key": SECRET,
    "smtp_url": "log:",
    "mail_from": "service@example.com",
    "public_url": "https://service.example.com",
}


def environment(**values: object) -> dict[str, str]:
    """This process's environment, with no setting but these."""
    own = {name: value for name, value in os.environ.items() if name not in FROM_OUTSIDE}
    return own | {name.upper(): str(value) for name, value in values.items()}


class Process:
    """A running command; `project` is the code it runs."""

    def __init__(self, *arguments: str, cwd: Path, project: Path = PROJECT, **settings: object):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "service", *arguments],
            cwd=cwd,  # where no developer's .env lies
            env=environment(pythonpath=project, pythonunbuffered=1, **settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._start = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since its start: how fast this machine is just now."""
        return time.monotonic() - self._start

    def until(self, words: str, *, errors: bool = False) -> str:
        """Read an output up to the line with these words, and return what follows them there."""
        output = self._process.stderr if errors else self._process.stdout
        assert output is not None
        lines = []
        for line in output:
            lines.append(line)
            if words in line:
                return line.partition(words)[2].strip()
        raise AssertionError(f"no {words!r} in {lines}; {self._process.communicate()}")

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def send(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def end(self, number: int = signal.SIGINT) -> tuple[int, float, str, str]:
        """Stop it; returns code, seconds that it took, and what is left of both outputs."""
        start = time.monotonic()
        self.send(number)
        output, errors = self._process.communicate(timeout=PATIENCE)
        return self._process.returncode, time.monotonic() - start, output, errors

    def finish(self, seconds: float = PATIENCE) -> tuple[int, str]:
        """Wait for its own end; returns code and what is left of standard output."""
        output, _ = self._process.communicate(timeout=seconds)
        return self._process.returncode, output

    def kill(self) -> None:
        """End it without a word, and whoever holds its outputs is waited for."""
        self._process.kill()
        self._process.communicate(timeout=PATIENCE)


@contextmanager
def started(*arguments: str, **options: Any) -> Iterator[Process]:
    """A process that does not outlive the test."""
    process = Process(*arguments, **options)
    try:
        yield process
    finally:
        process.kill()


def fetch(url: str, body: bytes | None = None) -> bytes:
    """Read a JSON resource, or post to it. Raises HTTPError, closed, for a failure."""
    request = Request(url, body, {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=PATIENCE) as response:
            answer: bytes = response.read()
            return answer
    except HTTPError as error:
        # An HTTPError is the response, too: from Python 3.14 on an unclosed one warns.
        with error:
            raise
