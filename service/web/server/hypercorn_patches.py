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

_read_data: Final = TCPServer._read_data
_run: Final = TCPServer.run


@wraps(_read_data)
async def _read_data_and_idle_no_more(self: TCPServer) -> None:
    await _read_data(self)
    # Here and not wherever a connection is told to be closed: that may be by the wait itself, which
    # would then wait for its own end where Python 3.11's wait_for loses a cancellation.
    await self.idle_task.stop()


@wraps(_run)
async def _run_and_leave_no_cycle(self: TCPServer) -> None:
    try:
        await _run(self)
    finally:
        # Its `send` is a method of this server. There is none when the client was gone at once.
        vars(self).pop("protocol", None)


def patch_hypercorn() -> None:
    """Put it right in this process; a second time does nothing."""
    TCPServer._read_data = _read_data_and_idle_no_more  # type: ignore[method-assign]
    TCPServer.run = _run_and_leave_no_cycle  # type: ignore[method-assign]
