"""A connection by HTTP/1.1 or 1.0: uvicorn's `http` protocol.

uvicorn's own protocol for httptools bounds neither the head of a request nor the time that a client
takes to send one, keeps what pipelining clients send without bound, resets the connections of
clients that still send, cancels a request whose client has closed its own half of the connection,
sends chunks to HTTP/1.0 and takes trailers for headers.
"""

import asyncio
from collections import deque
from contextvars import Context, copy_context
from typing import Any, Final, cast

from uvicorn.server import ServerState

from service.web.server import bounds
from service.web.server.uvicorn.channel import Channel
from service.web.server.uvicorn.config import ServerConfig
from service.web.server.uvicorn.exchange import Exchange
from service.web.server.uvicorn.head import Head, Headers, Refused
from service.web.server.uvicorn.reader import RequestReader

# Bytes that are parsed at a time: a request of 26 bytes costs 2 KiB until it is answered, and those
# after the first one wait unparsed.
_PIECE: Final = 4096
_REFUSAL: Final = b"HTTP/1.1 %d \r\ncontent-length: 0\r\nconnection: close\r\n"


class Connection(Channel):
    """A connection, whose requests are read as they come and answered one after the other."""

    _reader: RequestReader
    _context: Context

    def __init__(
        self,
        config: ServerConfig,
        server_state: ServerState,
        app_state: object,
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(_loop)
        self._config = config
        self._server = server_state
        # Whose body is being read, which is being answered, and which come after that one.
        self._reading: Exchange | None = None
        self._answering: Exchange | None = None
        self._queue: deque[Exchange] = deque()
        self._begun = 0  # requests
        # The status of the answer to what follows the requests and is none.
        self._refusal: int | None = None
        self._closing = False
        # Whether reading is paused, and what had been received before that.
        self._paused = False
        self._unread = memoryview(b"")

    # The loop calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request, unless the server ends."""
        self._transport = transport
        self._server.connections.add(cast(Any, self))
        self._config.service.connections.count += 1
        common = {
            "asgi": {"version": "3.0", "spec_version": "2.1"},
            "scheme": "https" if transport.get_extra_info("sslcontext") else "http",
            "client": _address(transport.get_extra_info("peername")),
            "server": _address(transport.get_extra_info("sockname")),
            "root_path": self._config.root_path,
        }
        options = self._config.options
        self._reader = RequestReader(self, common, options.h11_max_incomplete_size)
        self._context = copy_context()
        if self._config.service.shutdown_state.port_closing.is_set():
            self.shutdown()
        else:
            self._await_request()

    def data_received(self, data: bytes) -> None:
        """Read what the client sent."""
        if self._discarded is not None:
            self._discard(len(data))
            return
        self._unread = memoryview(data)
        self._read()

    def eof_received(self) -> bool:
        """Note that the client sends no more; returns whether the connection goes on."""
        self._at_eof = True
        # TLS knows no half-closed connections, and asyncio closes both halves.
        if self._transport.get_extra_info("sslcontext"):
            return False
        if self._discarded is None and not self._reader.between_requests:
            self._refuse_rest(400)
        answering = self._answering
        if self._discarded is not None or answering is None or answering.endless:
            self.close()
        else:  # the client may still read the response
            self._start_timer(bounds.HALF_CLOSE_GRACE, self._give_up)
        return not self._transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up the requests, and every reference that would be a cycle."""
        self._server.connections.discard(cast(Any, self))
        self._config.service.connections.count -= 1
        self._stop_timer()
        if self._answering is not None:
            self._answering.disconnect()
        self._answering = self._reading = None
        self._queue.clear()
        self._unread = memoryview(b"")
        self._reader.close()
        self.resume_writing()

    # The server calls these.

    def shutdown(self) -> None:
        """Close the connection, or have it end after the response that is under way."""
        self._closing = True
        if self._answering is None and self._reading is None and self._discarded is None:
            self.close()

    # The reader calls these.

    def begin_request(self, head: Head) -> None:
        """Answer a request, after those before it."""
        self._reading = Exchange(self, head)
        if self._answering is None:
            self._answer(self._reading)
        else:
            self._queue.append(self._reading)
            self.control_reading()

    def add_to_body(self, data: bytes) -> None:
        """Give a request a part of its body, which is discarded if it has been answered."""
        if self._reading is not None:
            self._reading.feed(data)
            self.control_reading()

    def end_request(self) -> None:
        """Note the end of a request; if it has been answered, the next may come."""
        exchange, self._reading = self._reading, None
        if exchange is not None:
            exchange.end_body()
            if exchange.complete:
                self._await_request()

    # The request that is being answered calls these.

    @property
    def default_headers(self) -> Headers:
        """The headers of all responses."""
        return self._server.default_headers

    @property
    def ends(self) -> bool:
        """Whether the response that is about to be sent is the last."""
        most = self._config.options.keep_alive_max_requests
        return self._closing or self._at_eof or self._begun >= most

    def begin_response(self, exchange: Exchange) -> None:
        """Note that a response has begun, and end an endless one of a client that has left."""
        if self._at_eof and exchange.endless:
            self._give_up()

    def end_response(self, exchange: Exchange) -> None:
        """Go on to the next request, or to the end of the connection."""
        self._answering = None
        self._stop_timer()
        if exchange.closes:
            reader = self._reader
            if self._queue or self._unread or reader.has_rest or not reader.between_requests:
                self._linger()
            else:
                self.close()
            return
        if self._queue:
            self._answer(self._queue.popleft())
        elif self._refusal is not None:
            self._refuse(self._refusal)
        elif exchange is self._reading:
            self._close_in(bounds.DISCARD_TIME)
        else:
            self._await_request()
        self.control_reading()

    def fail_response(self, exchange: Exchange) -> None:
        """Answer 500 for an application that did not answer, or break its response off."""
        if not exchange.started:
            self._refuse(500)
        elif exchange.ends_with_connection:
            self.abort()  # for a polite end would look like the response's
        else:
            self.close()

    def control_reading(self) -> None:
        """Read on, unless the requests that were read before wait to be answered."""
        answering = self._answering
        full = self._discarded is None and (
            bool(self._queue)
            or self._refusal is not None
            or (answering is not None and answering.is_full)
        )
        if full is not self._paused and not self._transport.is_closing():
            self._paused = full
            if full:
                self._transport.pause_reading()
            else:
                self._read()
                if not self._paused:
                    self._transport.resume_reading()

    def _read(self) -> None:
        """Parse what has been received, until a request has to wait."""
        while self._unread and not self._paused:
            piece, self._unread = self._unread[:_PIECE], self._unread[_PIECE:]
            try:
                self._reader.feed(piece)
            except Refused as refusal:
                self._unread = memoryview(b"")
                self._refuse_rest(refusal.status)

    def _await_request(self) -> None:
        if self._closing or self._at_eof:
            self.close()
        else:
            self._close_in(self._config.options.keep_alive_timeout)

    def _answer(self, exchange: Exchange) -> None:
        self._stop_timer()
        self._answering = exchange
        self._begun += 1
        tasks = self._server.tasks
        # Not in the context of the request before it, whose task may call this.
        context = self._context.copy()
        task = self._loop.create_task(exchange.run(self._config.service), context=context)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def _give_up(self) -> None:
        """End the connection and the request of a client that has probably left."""
        if self._answering is not None:
            self._answering.disconnect()
        self.resume_writing()
        self.close()

    def _refuse_rest(self, status: int) -> None:
        """Refuse what follows the requests that were read, once these are answered."""
        broken = self._reading
        if broken is None and self._answering is None:
            self._refuse(status)
        elif broken is None or broken in self._queue:
            self._refusal = status
            if broken is not None:
                self._queue.remove(broken)
            self.control_reading()
        elif broken.started:
            self.close()
        else:
            broken.disconnect()
            self._refuse(status)

    def _refuse(self, status: int) -> None:
        lines = [b"%b: %b\r\n" % header for header in self.default_headers]
        self.write(_REFUSAL % status + b"".join(lines) + b"\r\n")
        self._linger()

    def _linger(self) -> None:
        """End the connection, on which no request is answered any more."""
        self._answering = self._reading = None
        self._queue.clear()
        self._unread = memoryview(b"")
        self._close_half()
        self.control_reading()


def _address(name: object) -> tuple[str, int] | None:
    """Return an address without the parts of IPv6 that no request needs; a Unix socket has none."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
