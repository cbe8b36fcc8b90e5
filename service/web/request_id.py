"""X-Request-ID: the caller's if it is valid, else a new one, on every response."""

import re
from typing import Final

from quart import Request

from service.ids import new_id_text
from service.web.request_state import request_state

HEADER: Final = "X-Request-ID"
_VALID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


def choose_request_id(request: Request) -> str:
    """Return the id that the request sends, or a new one."""
    sent = request.headers.get(HEADER)
    return sent if sent and _VALID.fullmatch(sent) else new_id_text()


def request_id() -> str:
    """Return the id of the current request."""
    return request_state().request_id
