"""Clients of the stream that connect anew, at random and whenever it ends."""

import asyncio
from contextlib import suppress
from random import Random
from typing import Final

from tests.support.eventsource import EventSource
from tests.support.storm.history import Event

FAILURES: Final = (OSError, EOFError, TimeoutError, ValueError, asyncio.IncompleteReadError)
RETRY: Final = 0.2  # seconds
SILENCE: Final = 2.0  # seconds without an event after which a follower looks around


class Follower:
    """Follows the stream by Last-Event-ID, and keeps every event that it saw."""

    def __init__(self, port: int, random: Random) -> None:
        self.seen: list[Event] = []
        self._source = EventSource(port)
        self._random = random

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            with suppress(*FAILURES):
                async with self._source.connected():
                    if " 200 " in self._source.head:
                        await self._read(self._random.randrange(1, 300))
            await asyncio.sleep(RETRY)

    async def _read(self, count: int) -> None:
        for _ in range(count):
            async with asyncio.timeout(SILENCE + self._random.random() * 20):
                event = await self._source.next()
            data = event.data
            own = {"post_id": data.get("id", ""), "version": data.get("version", 0)}
            self.seen.append(Event(event.id, event.kind, title=data.get("title", ""), **own))
