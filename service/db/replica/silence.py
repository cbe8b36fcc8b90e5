"""Statements on a server that may be frozen: its silence ends the connection."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from service.db.connecting import Connection


@contextmanager
def ended_by_silence(connection: Connection, seconds: float) -> Iterator[None]:
    """Terminate the connection when the block takes longer; what it waits for then fails.

    To cancel a statement the driver asks the server, and waits for that as long again.
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    # In two halves: a loop that was held up runs the first before it reads an answer that came.
    def second_half() -> None:
        nonlocal timer
        timer = loop.call_later(seconds / 2, connection.terminate)

    timer = loop.call_later(seconds / 2, second_half)
    try:
        yield
    finally:
        timer.cancel()
