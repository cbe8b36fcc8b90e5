"""A PostgreSQL server that a test hurts."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

from service.embedded_postgres import EmbeddedPostgres, start


class Faulty:
    """A PostgreSQL server that can be hurt."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.server: EmbeddedPostgres = start(folder)

    @property
    def url(self) -> str:
        return self.server.url()

    def processes(self) -> list[int]:
        """The ids of the postmaster and its children, the postmaster first."""
        postmaster = (self.server.data_dir / "data" / "postmaster.pid").read_text().split()[0]
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        return [int(postmaster), *map(int, children)]

    def signal(self, number: signal.Signals) -> None:
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    async def restart(self) -> None:
        """Start it again, over what is left of it."""
        before, self.server = self.server, await asyncio.to_thread(start, self._folder)
        before.stop()

    def stop(self) -> None:
        with suppress(OSError):
            self.signal(signal.SIGCONT)
        self.server.stop()
