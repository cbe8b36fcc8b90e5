"""Quart's two extension points: they make a request cheaper, and know which are in flight."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from quart import Quart, Request
from quart.asgi import ASGIHTTPConnection
from quart.sessions import NullSession, SessionInterface, SessionMixin
from quart.wrappers.base import BaseRequestWebsocket

from service.pool import Hold
from service.web.shutdown import shutdown

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

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
    """

    async def __call__(self, receive: Receive, send: Send) -> None:
        hold = Hold.of_this_task()

        async def receive_patiently() -> Any:
            message = await receive()
            if message["type"] == "http.disconnect":
                with suppress(TimeoutError):
                    await asyncio.wait_for(hold.released(), SPARED)
            return message

        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        in_flight = shutdown(self.app).in_flight
        in_flight.add(task)
        try:
            await super().__call__(receive_patiently, send)
        finally:
            in_flight.discard(task)

    async def handle_request(self, request: Request, send: Send) -> None:
        await super().handle_request(request, _Coalescing(send))


class _Coalescing:
    """Marks the body chunk that completes the declared length as the last one."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._remaining: int | None = None
        self._ended = False

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._remaining = _content_length(message["headers"])
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
