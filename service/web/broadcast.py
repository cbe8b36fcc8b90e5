"""One message to many open streams, each with a bounded buffer; knows neither HTTP nor features.

A client that reads too slowly is dropped: it resumes where it was, and costs no memory meanwhile.
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
STALLED: Final = 60.0  # seconds in which a client took nothing of what was sent to it
# So many are woken before other requests get their turn.
BATCH: Final = 32


@dataclass(frozen=True, slots=True)
class Message:
    """What goes over the wire, made once for all; `position` orders messages, None has no place."""

    chunk: bytes
    position: Any = None


class Client:
    """One open stream. `live` once it takes part in what is published."""

    __slots__ = ("_abort", "_arrived", "_buffer", "_size", "ended", "live", "seen")

    def __init__(self, abort: Callable[[], None]) -> None:
        self._abort = abort
        self._buffer: list[Message] = []
        self._size = 0
        self._arrived: asyncio.Future[None] | None = None
        self.live = False
        self.ended = False
        self.seen = monotonic()

    @property
    def waiting(self) -> bool:
        """Whether all that was sent has been taken."""
        return self._arrived is not None

    def took(self) -> None:
        """Note that the connection has taken what was sent."""
        self.seen = monotonic()

    def push(self, messages: Sequence[Message]) -> None:
        """Put messages into the buffer; one that overflows ends the stream."""
        self._buffer.extend(messages)
        self._size += sum(len(message.chunk) for message in messages)
        if len(self._buffer) > MAX_MESSAGES or self._size > MAX_BYTES:
            self.drop()
        else:
            self._wake()

    async def receive(self) -> list[Message]:
        """Wait for messages; none at all when the stream is to end."""
        self.took()
        if not self._buffer and not self.ended:
            self._arrived = asyncio.get_running_loop().create_future()
            try:
                await self._arrived
            finally:
                self._arrived = None
        messages, self._buffer, self._size = self._buffer, [], 0
        return [] if self.ended else messages

    def end(self) -> None:
        """End the stream at once: politely, or by force when its connection takes nothing now."""
        if self.waiting:
            self.ended = True
            self._wake()
        else:
            self.drop()

    def drop(self) -> None:
        """End the stream without another word."""
        self.ended = True
        self._buffer, self._size = [], 0
        self._abort()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)


class Broadcast:
    """The open streams of this process."""

    def __init__(self, comment: Message) -> None:
        self._comment = comment
        self._clients: set[Client] = set()

    def __len__(self) -> int:
        return len(self._clients)

    @contextmanager
    def opened(self, abort: Callable[[], None]) -> Iterator[Client]:
        """Count a stream as open. `abort` ends its connection, whatever it is doing."""
        client = Client(abort)
        self._clients.add(client)
        try:
            yield client
        finally:
            self._clients.discard(client)

    async def publish(self, messages: Sequence[Message]) -> None:
        """Send messages to all that are live."""
        await self._each(lambda client: client.push(messages), lambda client: client.live)

    async def keep_alive(self) -> None:
        """Break silences with a comment, and drop whom nothing reaches; runs until cancelled."""
        while True:
            await asyncio.sleep(1)
            now = monotonic()
            await self._each(
                lambda client: client.push([self._comment]),
                lambda client: client.waiting and now - client.seen >= HEARTBEAT,  # noqa: B023
            )
            await self._each(
                Client.drop,
                lambda client: not client.waiting and now - client.seen >= STALLED,  # noqa: B023
            )

    def end_all(self) -> None:
        """End every stream at once."""
        for client in list(self._clients):
            client.end()

    async def _each(self, act: Callable[[Client], None], chosen: Callable[[Client], bool]) -> None:
        count = 0
        for client in list(self._clients):
            if not client.ended and chosen(client):
                act(client)
                count += 1
                if count % BATCH == 0:
                    await asyncio.sleep(0)
