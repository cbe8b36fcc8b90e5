"""The worker's liveness: a file that is touched, and systemd's watchdog."""

import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from service import clock
from service.settings import SettingsError

# Where systemd listens (sd_notify(3)).
NOTIFY_SOCKET: Final = "NOTIFY_SOCKET"
# Seconds without a beat after which the worker should be restarted.
SILENT_AFTER: Final = 60.0


class Heartbeat:
    """Says that the worker looks for jobs, or for a database that is away.

    Raises SettingsError when the file cannot be written.
    """

    def __init__(self, file: Path | None) -> None:
        # When the database last answered a look for jobs, in seconds since 1970.
        self.polled_at = clock.now().timestamp()
        self._beaten_at = time.monotonic()
        self._file = file
        self._watchdog = os.environ.get(NOTIFY_SOCKET)
        try:
            self._touch()
        except OSError as error:
            raise SettingsError(f"WORKER_HEARTBEAT_FILE: {error.strerror}: {file}") from None

    @property
    def is_recent(self) -> bool:
        """Whether the last beat is not SILENT_AFTER ago."""
        return time.monotonic() - self._beaten_at < SILENT_AFTER

    def note_poll(self) -> None:
        """Beat, because the database answered a look for jobs."""
        self.polled_at = clock.now().timestamp()
        self.beat()

    def beat(self) -> None:
        """Touch the file, and send systemd's keep-alive; what fails is missed by their reader."""
        self._beaten_at = time.monotonic()
        with suppress(OSError):
            self._touch()
        if self._watchdog:
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                # "@" stands for the first byte of an abstract socket.
                sender.sendto(b"WATCHDOG=1", self._watchdog.replace("@", "\0", 1))

    def _touch(self) -> None:
        if self._file is not None:
            self._file.touch()
