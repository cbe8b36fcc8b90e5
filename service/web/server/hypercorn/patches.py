"""Patches of Hypercorn 0.18 for the end of a connection and the end of the server.

http1.py and http2.py say what the two protocols add, and keep_alive.py what an idle connection
saves.

Hypercorn keeps the socket of a disconnected client open until keep_alive_timeout is over, because
the connection waits for the task that waits for that timeout. At 500 short connections a second
that would be 37,000 open files.

Whether a client has closed its half of the connection, Hypercorn passes on only when that came
after the data and not with it.

A closed connection is left in a reference cycle, which only the garbage collector frees: for 10,000
connections that had been open for long, the collector stopped the process for 0.7 s. The only
cycle left is the one that h11 makes of each error about a request that is not HTTP.

A connection that is closed waits until its client has read what was sent, for ever if the client
reads nothing, such as that of a stream that was given up for this; closing.py aborts it in time.

graceful_timeout does not bound the end of the server: on Python >= 3.12 the asyncio loop waits for
connections for ever (pgjones/hypercorn issue 308), and every loop does for a client that does not
read its response. So this module keeps a set of the open connections, to be aborted in time.
"""

import asyncio
from contextlib import suppress
from functools import partial, wraps
from typing import Final, cast

import hypercorn.asyncio.run
import hypercorn.protocol
from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.events import Closed, Event, RawData

from service.web.server.application import Service
from service.web.server.closing import abort_when_unread, close
from service.web.server.hypercorn.http1 import HalfClosed, Http1Protocol
from service.web.server.hypercorn.http2 import Http2Protocol
from service.web.server.hypercorn.keep_alive import KeepAliveContext, KeepAliveTimer

_run: Final = TCPServer.run
_protocol_send: Final = TCPServer.protocol_send
_close: Final = TCPServer._close
_open_connections: Final[set[TCPServer]] = set()


async def _read_data(self: TCPServer) -> None:
    data = b"?"
    while data:
        try:
            async with asyncio.timeout(self.config.read_timeout):
                data = await self.reader.read(MAX_RECV)
        except (OSError, TimeoutError):
            break
        await self.protocol.handle(RawData(data))
    await self.protocol.handle(Closed())


@wraps(_run)
async def _run_without_cycle(self: TCPServer) -> None:
    _open_connections.add(self)
    service = getattr(self.app, "app", None)  # another one in front of it is counted by nobody
    connections = service.connections if isinstance(service, Service) else None
    if connections is not None:
        connections.count += 1
    terminated = cast(KeepAliveContext, self.context).terminated
    self.idle_task = KeepAliveTimer(  # type: ignore[assignment]
        self.config.keep_alive_timeout, terminated, partial(close, self.writer.transport)
    )
    try:
        await _run(self)
    finally:
        _open_connections.discard(self)
        if connections is not None:
            connections.count -= 1
        # Its `send` is a method of this object. A client that disconnected at once has none.
        wrapper = vars(self).pop("protocol", None)
        if wrapper is not None:  # a cancelled one has not been closed
            wrapper.protocol.stop_timers()


@wraps(_protocol_send)
async def _protocol_send_or_half_close(self: TCPServer, event: Event) -> None:
    if not isinstance(event, HalfClosed):
        await _protocol_send(self, event)
    elif self.writer.can_write_eof():  # not over TLS
        with suppress(OSError, RuntimeError):  # closed
            self.writer.write_eof()


@wraps(_close)
async def _close_in_time(self: TCPServer) -> None:
    abort_when_unread(self.writer.transport)
    await _close(self)


def patch_hypercorn(*, http2_prior_knowledge: bool = False) -> None:
    """Patch Hypercorn in this process, once.

    `http2_prior_knowledge` is whether a connection without TLS may begin with HTTP/2.
    """
    hypercorn.asyncio.run.WorkerContext = KeepAliveContext  # type: ignore[attr-defined]
    TCPServer._read_data = _read_data  # type: ignore[method-assign]
    TCPServer.run = _run_without_cycle  # type: ignore[method-assign]
    TCPServer.protocol_send = _protocol_send_or_half_close  # type: ignore[method-assign]
    TCPServer._close = _close_in_time  # type: ignore[method-assign]
    hypercorn.protocol.H11Protocol = Http1Protocol  # type: ignore[attr-defined]
    Http1Protocol.http2_prior_knowledge = http2_prior_knowledge
    hypercorn.protocol.H2Protocol = Http2Protocol  # type: ignore[attr-defined]


def abort_connections(config: object) -> None:
    """Abort the connections of the server with this configuration, which cancels their requests."""
    for connection in [each for each in _open_connections if each.config is config]:
        connection.writer.transport.abort()
