"""Quart's two extension points: they make a request cheaper, and its end orderly."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from quart import Quart, Request
from quart.asgi import ASGIHTTPConnection
from quart.sessions import NullSession, SessionInterface, SessionMixin
from quart.wrappers.base import BaseRequestWebsocket

from service.pool import Hold
from service.web.shutdown import Shutdown, shutdown

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

# The scope's extension that ends the connection.
ABORT: Final = "service.abort"
# Seconds: many times what statements take, and little enough to stop those that take long.
SPARED: Final = 1.0


class NoCookieSessions(SessionInterface):
    """Quart's signed-cookie sessions, left out: callers are known by tokens."""

    async def open_session(
        self, _app: Quart, _request: BaseRequestWebsocket
    ) -> SessionMixin | None:
        return NullSession()

    def is_null_session(self, _instance: object) -> bool:
        return True


class HTTPConnection(ASGIHTTPConnection):
    """Sends a body of known length in one message with its end, instead of two.

    A request whose client has gone is given up. One that holds a database connection may first
    end its work within SPARED seconds: cut off in a statement, it would cost that connection.

    The scope's extension ABORT ends the exchange as if the client had gone, also when it waits
    for a client that reads nothing.
    """

    async def __call__(self, receive: Receive, send: Send) -> None:
        incoming = _Incoming(receive, Hold.of_this_task(), shutdown(self.app))
        extensions: dict[str, Any] = self.scope["extensions"]
        extensions[ABORT] = incoming.abort
        await super().__call__(incoming, send)

    async def handle_request(self, request: Request, send: Send) -> None:
        await super().handle_request(request, _Outgoing(send, request, shutdown(self.app)))


class _Incoming:
    """What the server receives, or the client's leaving when we say so."""

    def __init__(self, receive: Receive, hold: Hold, ending: Shutdown) -> None:
        self._receive = receive
        self._hold = hold
        self._ending = ending
        self._task: asyncio.Task[Any] | None = None
        self._aborted = False

    async def __call__(self) -> Any:
        self._task = asyncio.current_task()
        try:
            message = await self._receive()
            if message["type"] == "http.disconnect" and not self._ending.begun:
                await self._hold.end(SPARED)
        except asyncio.CancelledError:
            if self._task is None or not self._aborted or self._task.uncancel() > 0:
                raise
            return {"type": "http.disconnect"}
        return message

    def abort(self) -> None:
        """End the exchange; a second time does nothing."""
        if self._task is not None and not self._aborted:
            self._aborted = True
            self._task.cancel()


class _Outgoing:
    """Marks the body chunk that completes the declared length as the last one.

    At the end of the process it also tells the client to take another connection.
    """

    def __init__(self, send: Send, request: Request, ending: Shutdown) -> None:
        self._send = send
        self._request = request
        self._ending = ending
        self._remaining: int | None = None
        self._ended = False

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._remaining = _content_length(message["headers"])
            # RFC 9112, §9.6; HTTP/2 has no such header (RFC 9113, §8.2.2).
            if self._ending.begun and self._request.http_version < "2":
                message["headers"].append((b"connection", b"close"))
        elif message["type"] == "http.response.body" and self._remaining is not None:
            if self._ended:
                return
            self._remaining -= len(message["body"])
            if self._remaining <= 0:
                self._ended = True
                message = {**message, "more_body": False}
        await self._send(message)


def _content_length(headers: list[tuple[bytes, bytes]]) -> int | None:
    for name, value in headers:
        if name == b"content-length":
            return int(value)
    return None
