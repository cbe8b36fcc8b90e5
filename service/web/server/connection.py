"""One request and its answer, between the server and Quart."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, cast

from hypercorn.typing import HTTPScope
from quart import Response
from quart.asgi import ASGIHTTPConnection, ASGIWebsocketConnection
from quart.utils import encode_headers
from quart.wrappers.response import DataBody

from service.db.pool import ConnectionTracker
from service.ids import new_id_text
from service.web import telemetry
from service.web.client import find_client_ip
from service.web.request_id import HEADER, choose_request_id
from service.web.request_state import RequestState
from service.web.responses import dumps
from service.web.server.disconnect import DisconnectWatcher, Receive
from service.web.server.request import ApiRequest, RequestHeaders
from service.web.telemetry import observed

if TYPE_CHECKING:
    from service.web.server.application import Service

Send = Callable[[Any], Awaitable[None]]
# No route's path.
NOWHERE: Final = " "
_REQUEST_ID: Final = HEADER.lower().encode()


class HTTPConnection(ASGIHTTPConnection):
    """A request that is observed, in one task, and answered in as few messages as it takes.

    A request whose client has gone is given up. One that holds a database connection may first
    end its work within DISCONNECT_GRACE seconds: cut off in a transaction, it would cost that
    connection.
    """

    app: "Service"

    async def __call__(self, receive: Receive, send: Send) -> None:
        request = self._make_request()
        client = DisconnectWatcher(
            request, receive, ConnectionTracker.install(), self.app.shutdown_state
        )
        client.watch()
        try:
            await self._handle(RequestState(self.app, request, client.leave), send)
        except asyncio.CancelledError:
            if not client.has_left():
                raise
        finally:
            client.forget()
            request.body.forget()
            request.routing_exception = None  # its traceback refers to the request

    async def _handle(self, state: RequestState, send: Send) -> None:
        request = state.request
        state.request_id = choose_request_id(request)
        state.client_ip = find_client_ip(request, self.app.settings)
        state.begin()
        telemetry.set_context(state)
        with observed(state):
            # Never one of werkzeug's: the error handlers answer whatever is raised.
            response = cast(Response, await self.app.handle_request(request))
            await self._answer(state, response, send)

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

    async def _answer(self, state: RequestState, response: Response, send: Send) -> None:
        headers = encode_headers(response.headers)
        headers.append((_REQUEST_ID, state.request_id.encode()))
        # RFC 9112, §9.6; HTTP/2 has no such header (RFC 9113, §8.2.2).
        if self.app.shutdown_state.begun and state.request.http_version < "2":
            headers.append((b"connection", b"close"))
        status = response.status_code
        await send({"type": "http.response.start", "status": status, "headers": headers})
        state.status = status
        body = response.response
        if isinstance(body, DataBody):
            whole = body.data[body.begin : body.end]
            await send({"type": "http.response.body", "body": whole, "more_body": False})
        else:
            async with body as chunks:
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        state.complete = True


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
