"""Server-Sent Events (HTML Standard, §9.2): how events look on the wire and how they are answered.

`begin`, `comment` and `event` make bytes; `event_stream` answers with a stream of them.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

from quart import Response, request

from service.web.request_state import request_state

# Makes the stream for a client that has this Last-Event-ID, or none: from now on. It also gets what
# ends the client's connection by force, as if the client had gone.
Open = Callable[[str | None, Callable[[], None]], Awaitable[AsyncGenerator[bytes, None]]]

RETRY: Final = 2_000  # milliseconds that a client waits before it connects again

COMMENT: Final = b":\n\n"

_HEADERS: Final = {
    "Cache-Control": "no-cache",
    # nginx would hold events back until its buffer is full.
    "X-Accel-Buffering": "no",
}


def begin(position: object | None = None) -> bytes:
    """Begin a stream; a client that knows its position resumes even if it never gets an event."""
    known = f"id: {position}\n" if position is not None else ""
    return f"retry: {RETRY}\n{known}\n".encode()


def event(kind: str, data: str, position: object) -> bytes:
    """Write an event; `data` is one line, as JSON is."""
    return f"id: {position}\nevent: {kind}\ndata: {data}\n\n".encode()


async def event_stream(open_stream: Open) -> Response:
    """Answer with events, for as long as they come; HEAD gets the headers alone."""
    if request.method == "HEAD":
        response = Response(b"", 200, _HEADERS)
        response.headers.pop("Content-Length", None)
    else:
        after = request.headers.get("Last-Event-ID") or None
        response = Response(await open_stream(after, request_state().abort), 200, _HEADERS)
    response.content_type = "text/event-stream"
    response.timeout = None
    return response
