"""What Hypercorn 0.18 does not do when a connection ends, put right in this process.

It leaves the socket of a client that has gone open until keep_alive_timeout is over, for the task
that waits for that is one that the connection waits for in turn. At 500 short connections a
second that would be 37,000 open files.

What it held of the connection is a cycle, which only the garbage collector frees: when that
found 10,000 connections that had been open for long, it stopped everything for 0.7 s. What is left
is the cycle that h11 makes of each error about a request that is not HTTP.

Its graceful_timeout does not bound the end: on Python >= 3.12 the asyncio loop waits for
connections for ever (pgjones/hypercorn issue 308), and so do all loops for a client that reads
nothing of its answer. So open connections are counted here, to be aborted in time.
"""

from functools import wraps
from typing import Final

from hypercorn.asyncio.tcp_server import TCPServer

_read_data: Final = TCPServer._read_data
_run: Final = TCPServer.run
_open: Final[set[TCPServer]] = set()


@wraps(_read_data)
async def _read_data_and_stop_idle_task(self: TCPServer) -> None:
    await _read_data(self)
    # Here and not wherever a connection is told to be closed: that may be by the wait itself, which
    # would then wait for its own end where Python 3.11's wait_for loses a cancellation.
    await self.idle_task.stop()


@wraps(_run)
async def _run_and_leave_no_cycle(self: TCPServer) -> None:
    _open.add(self)
    try:
        await _run(self)
    finally:
        _open.discard(self)
        # Its `send` is a method of this server. There is none when the client was gone at once.
        vars(self).pop("protocol", None)


def patch_hypercorn() -> None:
    """Patch Hypercorn in this process; a second time does nothing."""
    TCPServer._read_data = _read_data_and_stop_idle_task  # type: ignore[method-assign]
    TCPServer.run = _run_and_leave_no_cycle  # type: ignore[method-assign]


def abort_connections(config: object) -> None:
    """Cut off every client of the server with this configuration: its requests are given up."""
    for server in [server for server in _open if server.config is config]:
        server.writer.transport.abort()
