"""Clients of the event stream, and events for all of them, one after the other."""

import asyncio
from array import array
from functools import partial
from time import perf_counter
from typing import Any, Self, cast

import asyncpg
from httptools import HttpResponseParser

from benchmarks.load import GRACE, Load, LoadError, summarise
from benchmarks.target import Target, http

# The event is made in the database: a request for it would be counted among the stream's costs.
CHANGE = "UPDATE posts SET version = version + 1 WHERE id = $1::text::uuid"
END = b"\n\n"


class Listener(asyncio.Protocol):
    """One client: opens its stream, and counts the events that arrive."""

    def __init__(self, audience: "Audience") -> None:
        self.audience = audience
        self.begun = False
        self.text = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class
        self.parser = HttpResponseParser(self)
        self.transport.write(http("GET", "/api/posts/stream"))

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_headers_complete(self) -> None:
        if (status := self.parser.get_status_code()) != 200:
            self.audience.fail(f"status {status}, not 200")

    def on_body(self, body: bytes) -> None:
        if not self.begun:  # the first part says how to connect again
            self.begun = True
            self.audience.heard()
            return
        *messages, self.text = (self.text + body).split(END)
        for message in messages:
            if b"event: " in message:
                self.audience.heard()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.transport.is_closing():
            self.audience.fail(f"stream lost: {error}")


def _itself(listener: Listener) -> Listener:
    return listener


class Audience:
    """A number of listeners, spread evenly over the ports; a request is one event to one of them.

    A latency is the time from the begin of the change to the event's arrival, in seconds.
    """

    def __init__(self, target: Target, listeners: int) -> None:
        self.target = target
        self.listeners = [Listener(self) for _ in range(listeners)]
        self.latencies = array("d")

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.database: asyncpg.Connection[Any] = await asyncpg.connect(self.target.database)
        self._expect()
        ports = self.target.ports
        for number, listener in enumerate(self.listeners):
            port = ports[number % len(ports)]
            await loop.create_connection(partial(_itself, listener), "127.0.0.1", port)
        await self._all_heard()
        return self

    async def __aexit__(self, *_: object) -> None:
        for listener in self.listeners:
            listener.transport.close()
        await self.database.close()

    async def run(self, seconds: float, limit: int | None = None) -> Load:
        """Make events for `seconds`, at most for `limit` requests, and wait for each everywhere.

        Raises LoadError when a stream ends, or misses an event.
        """
        self.latencies = array("d")
        started = perf_counter()
        while perf_counter() < started + seconds and len(self.latencies) < (limit or 10**9):
            self._expect()
            await self.database.execute(CHANGE, self.target.post_ids[0])
            await self._all_heard()
        return summarise(self.latencies, perf_counter() - started)

    def _expect(self) -> None:
        self.sent = perf_counter()
        self.missing = len(self.listeners)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def _all_heard(self) -> None:
        try:
            await asyncio.wait_for(self.done, GRACE)
        except TimeoutError:
            raise LoadError(f"{self.missing} streams silent after {GRACE:.0f} s") from None

    def heard(self) -> None:
        self.latencies.append(perf_counter() - self.sent)
        self.missing -= 1
        if not self.missing and not self.done.done():
            self.done.set_result(None)

    def fail(self, message: str) -> None:
        if not self.done.done():
            self.done.set_exception(LoadError(message))
