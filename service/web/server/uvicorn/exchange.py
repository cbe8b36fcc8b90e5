"""One request and its response, as ASGI sees them: `receive` and `send`."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import structlog

from service.web.server import bounds
from service.web.server.uvicorn.head import Head, Headers

if TYPE_CHECKING:
    from service.web.server.uvicorn.connection import Connection

log: Final = structlog.get_logger(__name__)

# Bytes of a body that the application has not taken yet, above which the client is not read.
HIGH_WATER: Final = 65_536
_STATUS_LINES: Final = {
    status: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


class Exchange:
    """A request, whose body arrives in parts, and its response, which is sent in parts."""

    __slots__ = (
        "_body", "_chunked", "_connection", "_continue_awaited", "_end_taken", "_length", "_silent",
        "_unsent", "_waiter", "body_complete", "closes", "complete", "disconnected", "head",
        "started",
    )  # fmt: skip

    def __init__(self, connection: "Connection", head: Head) -> None:
        self._connection = connection
        self.head: Final = head
        self._body = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._continue_awaited = head.expects_continue
        self._end_taken = False
        self._chunked = self._silent = False
        self._unsent = b""  # headers, until something follows them
        self._length: int | None = None  # of the declared response, what is left
        self.body_complete = False
        self.disconnected = False
        self.started = self.complete = False
        # Whether the connection ends after the response.
        self.closes = not head.keep_alive

    @property
    def is_full(self) -> bool:
        """Whether so much of the body waits for the application that no more is to be read."""
        return len(self._body) > HIGH_WATER

    @property
    def endless(self) -> bool:
        """Whether the response is a stream, such as one of events."""
        return self.started and not self.complete and not self._silent and self._length is None

    @property
    def ends_with_connection(self) -> bool:
        """Whether the end of the connection alone says that the response has ended."""
        return self.endless and not self._chunked

    def feed(self, data: bytes) -> None:
        """Add a part of the request's body, unless the request is answered."""
        self._continue_awaited = False
        if not self.complete:
            self._body += data
            self._wake()

    def end_body(self) -> None:
        """Note that the body has come completely."""
        self._continue_awaited = False
        self.body_complete = True
        self._wake()

    def disconnect(self) -> None:
        """Note that the client has left: the application hears of that, and nothing is sent."""
        self.disconnected = True
        self._wake()

    async def run(self, app: Callable[..., Awaitable[None]]) -> None:
        """Have the application answer."""
        try:
            await app(self.head.scope, self.receive, self.send)
        except Exception:
            log.exception("the application failed")
        finally:
            if not (self.complete or self.disconnected):
                self._connection.fail_response(self)

    async def receive(self) -> dict[str, Any]:
        """Return the next message; ask for a body that waits for that (RFC 9110, §10.1.1)."""
        if self.head.websocket and not self._end_taken:
            self._end_taken = True
            return {"type": "websocket.connect"}
        if self._continue_awaited and not self.started:
            self._continue_awaited = False
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not self._has_message():
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self.disconnected or self.complete:
            return {"type": "http.disconnect"}
        body, self._body = bytes(self._body), bytearray()
        self._end_taken = self.body_complete
        self._connection.control_reading()  # which may add to the body and end it
        return {"type": "http.request", "body": body, "more_body": not self._end_taken}

    async def send(self, message: dict[str, Any]) -> None:
        """Send a part of the response, and wait while the client reads more slowly than that."""
        if self.disconnected:
            return
        kind = message["type"].removeprefix("websocket.")
        final = False
        if kind == "http.response.start" and not self.started:
            self._start(message["status"], message["headers"])
        elif kind == "http.response.body" and self.started and not self.complete:
            final = not message.get("more_body", False)
            self._continue(message.get("body", b""), final=final)
        else:
            raise RuntimeError(f"{message['type']} is not expected")
        if self._connection.is_full:
            await self._connection.drain()
        if final and not self.disconnected:
            self.complete = True
            self._wake()
            self._connection.end_response(self)

    def _has_message(self) -> bool:
        left = self.disconnected or self.complete
        return left or bool(self._body) or (self.body_complete and not self._end_taken)

    def _start(self, status: int, headers: Headers) -> None:
        self.closes = self.closes or self._ends_with(status)
        lines = [_STATUS_LINES[HTTPStatus(status)]]
        for name, value in [*headers, *self._connection.default_headers]:
            if name == b"connection":
                self.closes = self.closes or value == b"close"
                continue
            if name == b"content-length":
                self._length = int(value)
            lines.append(b"%b: %b\r\n" % (name, value))
        bodiless = status in bounds.BODILESS
        self._silent = bodiless or self.head.scope["method"] == "HEAD"
        if self._length is None and not bodiless:
            # HTTP/1.0 has no chunks: the end of the connection is that of the body.
            self._chunked = self.head.scope["http_version"] == "1.1"
            self.closes = self.closes or not self._chunked
            if self._chunked:
                lines.append(b"transfer-encoding: chunked\r\n")
        if self.closes:
            lines.append(b"connection: close\r\n")
        top = b"".join(lines)
        if top.count(b"\n") != len(lines) or top.count(b"\r") != len(lines) or b"\0" in top:
            raise ValueError("a header of the response holds a control character")
        self.started = True
        self._continue_awaited = False
        self._unsent = top + b"\r\n"
        # A stream's first part may come in an hour; what else follows is ready.
        if not bodiless and self._length is None:
            self._write(b"")
        self._connection.begin_response(self)

    def _ends_with(self, status: int) -> bool:
        """Whether the response, which is about to be sent, is the last on the connection."""
        if self._connection.ends:
            return True
        if self.body_complete:
            return False
        # At 408 the client sends no more (RFC 9110, §15.5.9).
        return status == 408 or self._continue_awaited or not self.head.discardable

    def _continue(self, data: bytes, *, final: bool) -> None:
        if self._silent:
            data = b""
        elif self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            if final:
                data += b"0\r\n\r\n"
        elif self._length is not None:
            self._length -= len(data)
            if self._length < 0 or (final and self._length):
                raise ValueError("the body of the response is not as long as declared")
        self._write(data)

    def _write(self, data: bytes) -> None:
        """Send, together with the headers if these are still to be sent: a write is a packet."""
        data, self._unsent = self._unsent + data, b""
        if data:
            self._connection.write(data)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
