"""What takes the places of a request and of a connection while what still comes is discarded."""

from collections.abc import Awaitable, Callable

import h11
from hypercorn.protocol.events import EndBody, Event


class Sink:
    """What takes h11's place on a connection that ends: what comes is counted and discarded."""

    our_state = their_state = None
    they_are_waiting_for_100_continue = False
    trailing_data = (b"", False)

    def __init__(self) -> None:
        self.received = 0

    def receive_data(self, data: bytes) -> None:
        self.received += len(data)

    def next_event(self) -> type[h11.NEED_DATA]:
        return h11.NEED_DATA

    def send(self, _event: object) -> bytes:
        return b""


class DiscardingStream:
    """What takes an answered request's place until the end of its body."""

    def __init__(self, at_end: Callable[[], Awaitable[None]]) -> None:
        self._at_end = at_end

    async def handle(self, event: Event) -> None:
        if isinstance(event, EndBody):
            await self._at_end()
