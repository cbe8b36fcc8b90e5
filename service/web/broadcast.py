"""Broadcast of messages to many open streams, each with a bounded buffer, without HTTP.

A client that reads too slowly is disconnected, so that it costs no memory; it resumes where it was.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

MAX_MESSAGES: Final = 1_000
MAX_BYTES: Final = 1_048_576
HEARTBEAT: Final = 15.0  # seconds of silence
STALLED: Final = 60.0  # seconds without progress after which a client is disconnected
# Clients that are woken before the event loop serves other requests.
BATCH: Final = 32


@dataclass(frozen=True, slots=True)
class Message:
    """The bytes of a message for all clients, and its position in the order of messages, if any."""

    chunk: bytes
    position: Any = None


class Client:
    """One open stream, which gets published messages once it is `live`."""

    __slots__ = ("_abort", "_arrival", "_buffer", "_size", "ended", "live", "seen")

    def __init__(self, abort: Callable[[], None]) -> None:
        self._abort = abort
        self._buffer: list[Message] = []
        self._size = 0
        self._arrival: asyncio.Future[None] | None = None
        self.live = False
        self.ended = False
        self.seen = monotonic()

    @property
    def waiting(self) -> bool:
        """Whether the client has read all messages and waits for more."""
        return self._arrival is not None

    def took(self) -> None:
        """Note that the connection has taken what was sent to it."""
        self.seen = monotonic()

    def push(self, messages: Sequence[Message]) -> None:
        """Add messages to the buffer; an overflow drops the client."""
        self._buffer.extend(messages)
        self._size += sum(len(message.chunk) for message in messages)
        if len(self._buffer) > MAX_MESSAGES or self._size > MAX_BYTES:
            self.drop()
        else:
            self._wake()

    async def receive(self) -> list[Message]:
        """Wait for messages and return them; an empty list ends the stream."""
        self.took()
        if not self._buffer and not self.ended:
            self._arrival = asyncio.get_running_loop().create_future()
            try:
                await self._arrival
            finally:
                self._arrival = None
        messages, self._buffer, self._size = self._buffer, [], 0
        return [] if self.ended else messages

    def end(self) -> None:
        """End the stream: gracefully if the client has read all messages, else by force."""
        if self.waiting:
            self.ended = True
            self._wake()
        else:
            self.drop()

    def drop(self) -> None:
        """Abort the stream and its connection."""
        self.ended = True
        self._buffer, self._size = [], 0
        self._abort()

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)


class Broadcast:
    """The open streams of this process."""

    def __init__(self, comment: Message) -> None:
        self._comment = comment
        self._clients: set[Client] = set()

    def __len__(self) -> int:
        return len(self._clients)

    @contextmanager
    def opened(self, abort: Callable[[], None]) -> Iterator[Client]:
        """Register a stream while it is open; `abort` closes its connection by force."""
        client = Client(abort)
        self._clients.add(client)
        try:
            yield client
        finally:
            self._clients.discard(client)

    async def publish(self, messages: Sequence[Message]) -> None:
        """Send messages to all live streams."""
        await self._apply(lambda client: client.push(messages), lambda client: client.live)

    async def keep_alive(self) -> None:
        """Send comments to silent streams and drop stalled ones, until cancelled."""
        while True:
            await asyncio.sleep(1)
            now = monotonic()
            await self._apply(
                lambda client: client.push([self._comment]),
                lambda client: client.waiting and now - client.seen >= HEARTBEAT,  # noqa: B023
            )
            await self._apply(
                Client.drop,
                lambda client: not client.waiting and now - client.seen >= STALLED,  # noqa: B023
            )

    def end_all(self) -> None:
        """End every stream at once."""
        for client in list(self._clients):
            client.end()

    async def _apply(self, act: Callable[[Client], None], chosen: Callable[[Client], bool]) -> None:
        count = 0
        for client in list(self._clients):
            if not client.ended and chosen(client):
                act(client)
                count += 1
                if count % BATCH == 0:
                    await asyncio.sleep(0)
