"""One request and its answer, between the server and Quart."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from quart import Request, Response
from quart.asgi import ASGIHTTPConnection
from quart.utils import encode_headers
from quart.wrappers.response import DataBody

from service.pool import Hold
from service.web import logging
from service.web.exchange import Exchange
from service.web.observation import observed
from service.web.proxy import find_client_ip
from service.web.requestid import HEADER, choose_request_id
from service.web.shutdown import Shutdown, shutdown

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

# The scope's extension that ends the connection.
ABORT: Final = "service.abort"
# Seconds: many times what statements take, and little enough to stop those that take long.
SPARED: Final = 1.0
_REQUEST_ID: Final = HEADER.lower().encode()


class HTTPConnection(ASGIHTTPConnection):
    """An exchange that is observed, and answered in as few messages as it takes.

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
        exchange = Exchange(self.app, request)
        exchange.request_id = choose_request_id(request)
        exchange.client_ip = find_client_ip(request, exchange.extensions["settings"])
        exchange.begin()
        logging.begin(exchange)
        with observed(exchange):
            # Never one of werkzeug's: the error handlers answer whatever is raised.
            response = cast(Response, await self.app.handle_request(request))
            await self._answer(exchange, response, send)

    async def _answer(self, exchange: Exchange, response: Response, send: Send) -> None:
        headers = encode_headers(response.headers)
        headers.append((_REQUEST_ID, exchange.request_id.encode()))
        # RFC 9112, §9.6; HTTP/2 has no such header (RFC 9113, §8.2.2).
        if shutdown(self.app).begun and exchange.request.http_version < "2":
            headers.append((b"connection", b"close"))
        status = response.status_code
        await send({"type": "http.response.start", "status": status, "headers": headers})
        exchange.status = status
        body = response.response
        if isinstance(body, DataBody):
            await send({"type": "http.response.body", "body": body.data[body.begin : body.end]})
        else:
            async with body as chunks:
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        exchange.complete = True


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
