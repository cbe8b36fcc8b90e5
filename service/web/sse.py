"""Server-Sent Events (HTML Standard, §9.2): their bytes, and the response that streams them."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

from quart import Response, request

from service.web.request_state import request_state

# Opens the stream after a Last-Event-ID, or from now on without one. The second argument aborts the
# client's connection.
Open = Callable[[str | None, Callable[[], None]], Awaitable[AsyncGenerator[bytes, None]]]

RETRY: Final = 2_000  # milliseconds that a client waits before it connects again
COMMENT: Final = b":\n\n"
# nginx would buffer events without X-Accel-Buffering.
_HEADERS: Final = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def begin(position: object | None = None) -> bytes:
    """Return the start of a stream; with a position, a client can resume before its first event."""
    id_line = f"id: {position}\n" if position is not None else ""
    return f"retry: {RETRY}\n{id_line}\n".encode()


def event(kind: str, data: str, position: object) -> bytes:
    """Return an event; `data` must be one line, as JSON is."""
    return f"id: {position}\nevent: {kind}\ndata: {data}\n\n".encode()


def position(position: object) -> bytes:
    """Return the position of an event that is not sent: clients resume after it."""
    return f"id: {position}\n\n".encode()


async def event_stream(open_stream: Open) -> Response:
    """Return the response that streams events, or for HEAD its headers only."""
    if request.method == "HEAD":
        response = Response(b"", 200, _HEADERS)
        response.headers.pop("Content-Length", None)
    else:
        after = request.headers.get("Last-Event-ID") or None
        response = Response(await open_stream(after, request_state().abort), 200, _HEADERS)
    response.content_type = "text/event-stream"
    response.timeout = None
    return response
