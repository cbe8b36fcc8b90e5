"""One request and its answer, between the server and Quart."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import structlog
from hypercorn.typing import HTTPScope
from quart import Response
from quart.asgi import ASGIHTTPConnection, ASGIWebsocketConnection
from quart.utils import encode_headers
from quart.wrappers.response import DataBody

from service.ids import new_id_text
from service.pool import Hold
from service.web import logging
from service.web.exchange import Exchange
from service.web.json import dumps
from service.web.observation import observed
from service.web.proxy import find_client_ip
from service.web.request import ApiRequest, RequestHeaders
from service.web.requestid import HEADER, choose_request_id
from service.web.shutdown import Shutdown, shutdown

log: Final = structlog.get_logger(__name__)

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

# Seconds: many times what statements take, and little enough to stop those that take long.
SPARED: Final = 1.0
# Seconds after which it is watched whether the client is still there. Most requests are answered
# by then, and a watch costs as much as a tenth of one.
WATCHED_AFTER: Final = 0.2
# No route's path.
NOWHERE: Final = " "
_REQUEST_ID: Final = HEADER.lower().encode()


class HTTPConnection(ASGIHTTPConnection):
    """An exchange that is observed, in one task, and answered in as few messages as it takes.

    A request whose client has gone is given up. One that holds a database connection may first
    end its work within SPARED seconds: cut off in a transaction, it would cost that connection.
    """

    async def __call__(self, receive: Receive, send: Send) -> None:
        request = self._make_request()
        client = _Client(request, receive, Hold.of_this_task(), shutdown(self.app))
        client.watch()
        try:
            await self._handle(Exchange(self.app, request, client.leave), send)
        except asyncio.CancelledError:
            if not client.has_left():
                raise
        finally:
            client.forget()
            request.body.forget()
            request.routing_exception = None  # its traceback refers to the request

    async def _handle(self, exchange: Exchange, send: Send) -> None:
        request = exchange.request
        exchange.request_id = choose_request_id(request)
        exchange.client_ip = find_client_ip(request, exchange.extensions["settings"])
        exchange.begin()
        logging.begin(exchange)
        with observed(exchange):
            # Never one of werkzeug's: the error handlers answer whatever is raised.
            response = cast(Response, await self.app.handle_request(request))
            await self._answer(exchange, response, send)

    def _make_request(self) -> ApiRequest:
        scope = self.scope
        return ApiRequest(
            scope["method"],
            scope["scheme"],
            _path(scope),
            scope["query_string"],
            RequestHeaders.of(scope),
            scope.get("root_path", ""),
            scope["http_version"],
            scope,
            max_content_length=self.app.config["MAX_CONTENT_LENGTH"],
            body_timeout=self.app.config["BODY_TIMEOUT"],
            send_push_promise=_push_nothing,
        )

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
            whole = body.data[body.begin : body.end]
            await send({"type": "http.response.body", "body": whole, "more_body": False})
        else:
            async with body as chunks:
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        exchange.complete = True


class WebsocketConnection(ASGIWebsocketConnection):
    """There are no WebSockets here: a handshake finds nothing, in the one shape."""

    async def __call__(self, receive: Receive, send: Send) -> None:
        await receive()
        if "websocket.http.response" not in (self.scope.get("extensions") or {}):
            await send({"type": "websocket.close"})
            return
        request_id = new_id_text()
        body = dumps(
            {"error": "Not Found", "message": "Not found", "code": 404, "request_id": request_id}
        )
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (_REQUEST_ID, request_id.encode()),
        ]
        start = {"type": "websocket.http.response.start", "status": 404, "headers": headers}
        await send(start)
        await send({"type": "websocket.http.response.body", "body": body, "more_body": False})


def _path(scope: HTTPScope) -> str:
    """The path below `root_path`; outside of it lies nothing."""
    path = scope["path"]
    if not path.startswith("/"):  # the absolute form (RFC 9112, §3.2.2)
        path = "/" + path.partition("://")[2].partition("/")[2]
    root_path = scope.get("root_path", "")
    if not root_path:
        return path
    below = path.removeprefix(root_path.rstrip("/") + "/")
    return NOWHERE if below == path else f"/{below}"


async def _push_nothing(_path: str, _headers: object) -> None:
    """HTTP/2's pushes, which nobody takes any more."""


class _Client:
    """Who sent the request: sends the body, may leave, and may be sent away."""

    def __init__(self, request: ApiRequest, receive: Receive, hold: Hold, ending: Shutdown) -> None:
        self._request = request
        self._receive = receive
        self._hold = hold
        self._ending = ending
        self._handling = asyncio.current_task()
        self._receiving: asyncio.Task[None] | None = None
        self._waiting: asyncio.TimerHandle | None = None
        self._left = False

    def watch(self) -> None:
        """Take the body, if there may be one, and note when the client leaves."""
        if self._request.may_have_body:
            self._start()
        else:
            self._request.body.set_complete()
            loop = asyncio.get_running_loop()
            self._waiting = loop.call_later(WATCHED_AFTER, self._start)

    def _start(self) -> None:
        self._receiving = asyncio.get_running_loop().create_task(self._take())

    async def _take(self) -> None:
        try:
            await self._until_it_leaves()
        except Exception:
            log.exception("a client was lost sight of")
        self.leave()

    async def _until_it_leaves(self) -> None:
        body = self._request.body
        while (message := await self._receive())["type"] == "http.request":
            await body.feed(message.get("body", b""))
            if not message.get("more_body", False):
                body.set_complete()
        if not self._ending.begun:
            await self._hold.end(SPARED)

    def leave(self) -> None:
        """Have the request given up; a second time does nothing."""
        if not self._left and self._handling is not None:
            self._left = True
            self._handling.cancel()

    def has_left(self) -> bool:
        """Whether it was this, and nothing else, that cancelled the request."""
        return self._left and self._handling is not None and self._handling.uncancel() == 0

    def forget(self) -> None:
        """The exchange is over. What refers to it is let go of, or the collector had to find it."""
        self._left = True
        self._handling = None
        if self._waiting is not None:
            self._waiting.cancel()
        if self._receiving is not None:
            self._receiving.cancel()
            self._receiving = None
