"""X-Request-ID: the caller's when it is sane, else one of our own, on every response."""

import re
from typing import Final

from quart import Request

from service.ids import new_id_text
from service.web.request_state import request_state

HEADER: Final = "X-Request-ID"
_SANE: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


def choose_request_id(request: Request) -> str:
    """The id that a request shall be known by."""
    sent = request.headers.get(HEADER)
    return sent if sent and _SANE.fullmatch(sent) else new_id_text()


def request_id() -> str:
    """The id of the present request."""
    return request_state().request_id
