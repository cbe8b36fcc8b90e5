"""The worker's liveness: a file that is touched, and systemd's watchdog."""

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

from service.settings import SettingsError

# Where systemd listens (sd_notify(3)).
NOTIFY_SOCKET: Final = "NOTIFY_SOCKET"


class Heartbeat:
    """Says that the worker looks for jobs, or for a database that is away.

    Raises SettingsError when the file cannot be written.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._watchdog = os.environ.get(NOTIFY_SOCKET)
        try:
            self._touch()
        except OSError as error:
            raise SettingsError(f"WORKER_HEARTBEAT_FILE: {error.strerror}: {file}") from None

    def beat(self) -> None:
        """Touch the file, and send systemd's keep-alive; what fails is missed by their reader."""
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
