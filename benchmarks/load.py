"""The load generator: closed-loop HTTP/1.1 connections, each answer's status checked."""

import asyncio
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from time import perf_counter
from typing import Self, cast

from httptools import HttpResponseParser

from benchmarks.chain import Answer, Chain

GRACE = 60.0  # seconds that answers may take after the last request was sent


Requests = Sequence[bytes] | Sequence[Chain]


class LoadError(Exception):
    """An answer of another status than expected, a lost connection, or none at all in time."""


@dataclass(frozen=True)
class Load:
    """What one run of the generator saw; latencies in seconds."""

    requests: int
    seconds: float
    p50: float
    p99: float


class Connection(asyncio.Protocol):
    """One client: sends, waits for the whole answer, sends the next."""

    def __init__(self, generator: "Generator", port: int) -> None:
        self.generator = generator
        self.port = port
        self.transport: asyncio.Transport | None = None
        self.waiting = False
        self.body = bytearray()

    def request(self) -> bytes:
        return next(self.generator.requests)

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self, "127.0.0.1", self.port)
        except OSError as error:
            self.generator.fail(f"cannot connect: {error}")

    def begin(self) -> None:
        """Send the next request, on a new connection where the server closed the last one."""
        self.sent = perf_counter()
        self.waiting = True
        if self.transport is None:
            self.opening = asyncio.ensure_future(self.open())
        else:
            self.transport.write(self.request())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class
        self.parser = HttpResponseParser(self)
        if self.waiting:
            self.transport.write(self.request())

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        if self.parser.get_status_code() != self.generator.status:
            self.body += body

    def on_message_complete(self) -> None:
        status = self.parser.get_status_code()
        if status != self.generator.status:
            text = self.body[:300].decode(errors="replace")
            self.generator.fail(f"status {status}, not {self.generator.status}: {text}")
            return
        self.waiting = False
        self.generator.latencies.append(perf_counter() - self.sent)
        if self.transport is not None and not self.parser.should_keep_alive():
            self.transport.close()
            self.transport = None
        self.generator.answered(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self.transport is None or not self.transport.is_closing():
            return
        self.transport = None
        if self.waiting:
            self.generator.fail(f"connection lost before the answer: {error}")


class ChainConnection(Connection):
    """One client whose requests follow from the answers."""

    def __init__(self, generator: "Generator", port: int, chain: Chain) -> None:
        super().__init__(generator, port)
        self.chain = chain
        self.headers: dict[bytes, bytes] = {}

    def request(self) -> bytes:
        return self.chain.request

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if self.parser.get_status_code() == self.generator.status:
            self.chain.answered(Answer(self.headers, bytes(self.body)))
            self.headers, self.body = {}, bytearray()
        super().on_message_complete()


class Generator:
    """A number of connections, spread evenly over the ports, that can run several times.

    They take turns with the requests, or each has a chain of its own. Raises LoadError when there
    are too few chains.
    """

    def __init__(
        self, ports: Sequence[int], connections: int, requests: Requests, status: int
    ) -> None:
        self.status = status
        self.requests: Iterator[bytes] = cycle(one for one in requests if isinstance(one, bytes))
        chains = [one for one in requests if isinstance(one, Chain)]
        if chains and len(chains) < connections:
            raise LoadError(f"it has {len(chains)} clients, not {connections}")
        turns = islice(cycle(ports), connections)
        self.connections = [
            ChainConnection(self, port, chains[number]) if chains else Connection(self, port)
            for number, port in enumerate(turns)
        ]

    async def __aenter__(self) -> Self:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for connection in self.connections:
            await connection.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self.connections:
            if connection.transport is not None:
                connection.waiting = False
                connection.transport.close()

    async def run(self, seconds: float, limit: int | None = None) -> Load:
        """Send for `seconds`, at most `limit` requests, and wait for every answer.

        Raises LoadError at the first answer that is not the expected one.
        """
        self.latencies = array("d")
        self.left = len(self.connections)
        self.limit = limit or 10**9
        self.done = asyncio.get_running_loop().create_future()
        started = perf_counter()
        self.deadline = started + seconds
        for connection in self.connections:
            connection.begin()
        try:
            await asyncio.wait_for(self.done, seconds + GRACE)
        except TimeoutError:
            raise LoadError(f"{self.left} answers missing after {GRACE:.0f} s") from None
        elapsed = perf_counter() - started
        return summarise(self.latencies, elapsed)

    def answered(self, connection: Connection) -> None:
        if perf_counter() < self.deadline and len(self.latencies) + self.left <= self.limit:
            connection.begin()
            return
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(None)

    def fail(self, message: str) -> None:
        self.deadline = 0.0
        if not self.done.done():
            self.done.set_exception(LoadError(message))


def summarise(latencies: Sequence[float], seconds: float) -> Load:
    ordered = sorted(latencies)
    count = len(ordered)
    return Load(count, seconds, ordered[count // 2], ordered[min(count - 1, count * 99 // 100)])
