"""One request and its response, between the server and Quart."""

import asyncio
import re
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import quote

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope
from quart import Response
from quart.asgi import ASGIHTTPConnection, ASGIWebsocketConnection
from quart.utils import encode_headers
from quart.wrappers.response import DataBody

from service.db.pool import ConnectionTracker
from service.errors import NotFound
from service.ids import new_id_text
from service.web import telemetry
from service.web.client import find_client_ip
from service.web.request_id import HEADER, choose_request_id
from service.web.request_state import RequestState
from service.web.responses import dumps, failure_payload
from service.web.server.disconnect import DisconnectWatcher
from service.web.server.request import ApiRequest, RequestHeaders
from service.web.telemetry import record_request

if TYPE_CHECKING:
    from service.web.server.application import Service

# A path that no route matches.
_UNROUTABLE: Final = " "
# The absolute form of a request's target, without its query (RFC 9112, §3.2.2).
_ABSOLUTE: Final = re.compile(r"https?://[^/]+(/.*)?", re.IGNORECASE | re.DOTALL)
# What stands in a path as it is, beside letters and digits (RFC 3986, §3.3).
_UNENCODED: Final = "/:@!$&'()*+,;=-._~"
_REQUEST_ID: Final = HEADER.lower().encode()


class HTTPConnection(ASGIHTTPConnection):
    """A request in one task, recorded, and answered in as few ASGI messages as possible.

    A request whose client has disconnected is cancelled. One that holds a database connection has
    DISCONNECT_GRACE seconds to finish first, because cancelling it in a transaction would cost that
    connection.
    """

    app: "Service"

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        request = self._make_request()
        watcher = DisconnectWatcher(
            request, receive, ConnectionTracker.install(), self.app.shutdown_state
        )
        watcher.start()
        try:
            await self._handle(RequestState(self.app, request, watcher.abort), watcher, send)
        except asyncio.CancelledError:
            if not watcher.has_cancelled():
                raise
        finally:
            watcher.close()
            request.body.discard()
            request.routing_exception = None  # its traceback refers to the request

    async def _handle(
        self, state: RequestState, watcher: DisconnectWatcher, send: ASGISendCallable
    ) -> None:
        request = state.request
        state.request_id = choose_request_id(request)
        state.client_ip = find_client_ip(request, self.app.settings)
        state.begin()
        telemetry.set_context(state)
        with record_request(state):
            # Always Quart's Response, since error handlers answer whatever is raised.
            response = cast(Response, await self.app.handle_request(request))
            await self._send(state, watcher, response, send)

    def _make_request(self) -> ApiRequest:
        scope = self.scope
        request = ApiRequest(
            scope["method"], scope["scheme"], _find_path(scope), scope["query_string"],
            RequestHeaders.from_scope(scope), scope.get("root_path", ""), scope["http_version"],
            scope, max_content_length=self.app.config["MAX_CONTENT_LENGTH"],
            body_timeout=self.app.config["BODY_TIMEOUT"], send_push_promise=_push_nothing,
        )  # fmt: skip
        request.method = scope["method"]  # not in capitals, if it was not sent in capitals
        return request

    async def _send(
        self,
        state: RequestState,
        watcher: DisconnectWatcher,
        response: Response,
        send: ASGISendCallable,
    ) -> None:
        headers = encode_headers(response.headers)
        headers.append((_REQUEST_ID, state.request_id.encode()))
        # RFC 9112, §9.6; HTTP/2 has no such header (RFC 9113, §8.2.2).
        if self.app.shutdown_state.begun and state.request.http_version < "2":
            headers.append((b"connection", b"close"))
        status = response.status_code
        await send({"type": "http.response.start", "status": status, "headers": headers})
        state.status = status
        cast(ApiRequest, state.request).body.start()
        body = response.response
        if isinstance(body, DataBody):
            data = body.data[body.begin : body.end]
            watcher.ending = True
            await send({"type": "http.response.body", "body": data, "more_body": False})
        else:
            async with body as chunks:
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            watcher.ending = True
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        state.complete = True


class WebsocketConnection(ASGIWebsocketConnection):
    """A WebSocket handshake, answered with 404 as any unknown path: there are no WebSockets."""

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await receive()
        if "websocket.http.response" not in (self.scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1000, "reason": None})
            return
        request_id = new_id_text()
        body = dumps(failure_payload(404, NotFound.default_message, request_id))
        headers = [
            (b"content-type", b"application/json"),
            (b"cache-control", b"no-store"),
            (b"content-length", str(len(body)).encode()),
            (_REQUEST_ID, request_id.encode()),
        ]
        await send({"type": "websocket.http.response.start", "status": 404, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": body, "more_body": False})


def _find_path(scope: HTTPScope) -> str:
    """Return the path below `root_path`, or one that matches no route.

    A path that encodes what needs no encoding is another spelling, which a proxy's rule about the
    path may not know.
    """
    path, raw = scope["path"], scope.get("raw_path", b"")
    if b"%" in raw and quote(path, safe=_UNENCODED).encode() != raw:
        return _UNROUTABLE
    if not path.startswith("/"):
        absolute = _ABSOLUTE.fullmatch(path)
        if absolute is None:
            return _UNROUTABLE
        path = absolute[1] or "/"
    if path.startswith("//"):  # werkzeug ignores the first of two slashes
        return _UNROUTABLE
    root_path = scope.get("root_path", "")
    if not root_path:
        return path
    below = path.removeprefix(root_path.rstrip("/") + "/")
    return _UNROUTABLE if below == path else f"/{below}"


async def _push_nothing(_path: str, _headers: object) -> None:
    """Ignore a server push of HTTP/2, which browsers no longer support."""
