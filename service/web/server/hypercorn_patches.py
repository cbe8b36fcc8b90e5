"""Patches of Hypercorn 0.18 for the end of a connection and the end of the server.

Hypercorn keeps the socket of a disconnected client open until keep_alive_timeout is over, because
the connection waits for the task that waits for that timeout. At 500 short connections a second
that would be 37,000 open files.

A closed connection is left in a reference cycle, which only the garbage collector frees: for 10,000
connections that had been open for long, the collector stopped the process for 0.7 s. The only
cycle left is the one that h11 makes of each error about a request that is not HTTP.

graceful_timeout does not bound the end of the server: on Python >= 3.12 the asyncio loop waits for
connections for ever (pgjones/hypercorn issue 308), and every loop does for a client that does not
read its response. So this module keeps a set of the open connections, to be aborted in time.
"""

from functools import wraps
from typing import Final

from hypercorn.asyncio.tcp_server import TCPServer

_read_data: Final = TCPServer._read_data
_run: Final = TCPServer.run
_open_connections: Final[set[TCPServer]] = set()


@wraps(_read_data)
async def _read_data_and_stop_idle_task(self: TCPServer) -> None:
    await _read_data(self)
    # Not where a connection is closed, because the idle task itself may close it and would then
    # wait for its own end, where Python 3.11's wait_for loses a cancellation.
    await self.idle_task.stop()


@wraps(_run)
async def _run_without_cycle(self: TCPServer) -> None:
    _open_connections.add(self)
    try:
        await _run(self)
    finally:
        _open_connections.discard(self)
        # Its `send` is a method of this object. A client that disconnected at once has none.
        vars(self).pop("protocol", None)


def patch_hypercorn() -> None:
    """Patch Hypercorn in this process, once."""
    TCPServer._read_data = _read_data_and_stop_idle_task  # type: ignore[method-assign]
    TCPServer.run = _run_without_cycle  # type: ignore[method-assign]


def abort_connections(config: object) -> None:
    """Abort the connections of the server with this configuration, which cancels their requests."""
    for connection in [each for each in _open_connections if each.config is config]:
        connection.writer.transport.abort()
