"""X-Request-ID: the caller's when it is sane, else one of our own, on every response."""

import re
from typing import Final

import structlog
from quart import Quart, Response, g, request

from service.ids import new_id

HEADER: Final = "X-Request-ID"
_SANE: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


def request_id() -> str:
    """The id of the present request."""
    if "request_id" not in g:
        sent = request.headers.get(HEADER, "")
        g.request_id = sent if _SANE.fullmatch(sent) else str(new_id())
    found: str = g.request_id
    return found


async def _begin() -> None:
    structlog.contextvars.bind_contextvars(request_id=request_id())


async def _tell(response: Response) -> Response:
    response.headers[HEADER] = request_id()
    return response


def init_app(app: Quart) -> None:
    """Know every request by an id."""
    app.before_request(_begin)
    app.after_request(_tell)
