"""Clients that keep a service busy, and what came of their requests."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from tests.support.polling import until
from tests.support.processes import Connection
from tests.support.server import RawAnswer

POST: Final = {"title": "written", "content": "while everything restarts"}

Request = Callable[[Connection, int], Awaitable[RawAnswer]]


class Load:
    """Clients that do one request after the other, and what came of it."""

    def __init__(self, port: int, token: str, request: Request) -> None:
        self.done = 0
        self.slowest = 0.0  # seconds
        self.failed: Counter[str] = Counter()
        self.created = 0
        self._port = port
        self._token = token
        self._request = request
        self._stop = False

    @asynccontextmanager
    async def running(self, clients: int) -> AsyncIterator["Load"]:
        tasks = [asyncio.create_task(self._client(number)) for number in range(clients)]
        try:
            yield self
        finally:
            self._stop = True
            await asyncio.gather(*tasks)

    async def rate(self, seconds: float) -> float:
        """Requests per second for that long."""
        start, done = time.monotonic(), self.done
        await asyncio.sleep(seconds)
        return (self.done - done) / (time.monotonic() - start)

    async def reach(self, count: int, seconds: float) -> None:
        """Wait until so many are done."""
        await until(lambda: self._reached(count), seconds)

    async def _reached(self, count: int) -> bool:
        return self.done >= count

    async def _client(self, number: int) -> None:
        client = Connection(self._port)
        client.token = self._token
        while not self._stop:
            start = time.monotonic()
            try:
                answer = await self._request(client, self.done + number)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.failed[type(error).__name__] += 1
                client = Connection(self._port)
                client.token = self._token
                continue
            self.done += 1
            self.slowest = max(self.slowest, time.monotonic() - start)
            self.created += answer.status == 201
            if answer.status not in {200, 201, 204}:
                self.failed[f"{answer.status} {answer.body!r}"] += 1
        if client.open:
            await client.__aexit__()


async def read_or_write(client: Connection, number: int) -> RawAnswer:
    if number % 4:
        return await client.request("GET", "/api/posts?per_page=5")
    return await client.request("POST", "/api/posts", POST)
