"""Two things that Hypercorn 0.18 alone does not do when a connection ends.

It leaves the socket of a client that has gone open until keep_alive_timeout is over, for the task
that waits for that is one that the connection waits for in turn. At 500 short connections a
second that would be 37,000 open files.

And what it held of the connection is a cycle, which only the garbage collector frees: when that
found 10,000 connections that had been open for long, it stopped everything for 0.7 s. What is left
is the cycle that h11 makes of each error about a request that is not HTTP.
"""

from functools import wraps
from typing import Final

from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Closed, Event, Updated
from hypercorn.protocol import ProtocolWrapper

_handle: Final = ProtocolWrapper.handle
_run: Final = TCPServer.run


@wraps(_handle)
async def _handle_and_idle_no_more(self: ProtocolWrapper, event: Event) -> None:
    await _handle(self, event)
    if isinstance(event, Closed):
        await self.send(Updated(idle=False))  # ends the wait


@wraps(_run)
async def _run_and_leave_no_cycle(self: TCPServer) -> None:
    try:
        await _run(self)
    finally:
        # Its `send` is a method of this server. There is none when the client was gone at once.
        vars(self).pop("protocol", None)


def patch_hypercorn() -> None:
    """Put it right in this process; a second time does nothing."""
    ProtocolWrapper.handle = _handle_and_idle_no_more  # type: ignore[method-assign]
    TCPServer.run = _run_and_leave_no_cycle  # type: ignore[method-assign]
