"""One log line per request, and what every line that is written during it tells.

What clients send as they like (path, query, headers, body) is in none of them.
"""

import logging
from typing import Any, Final

import structlog

from service import context
from service.web.exchange import ROUTINE, Exchange

log: Final = structlog.get_logger(__name__)


def begin(exchange: Exchange) -> None:
    """Let every line tell whose request it belongs to."""
    known: dict[str, Any] = {"request_id": exchange.request_id}
    if exchange.client_ip:
        known["client_ip"] = exchange.client_ip
    context.begin(known)


def bind_user(user_id: str) -> None:
    """Name the caller in the request's log lines, from here on."""
    context.add("user_id", user_id)


def tell(exchange: Exchange) -> None:
    """Write the request's line. Status 499: the client went away before there was an answer."""
    aborted = {} if exchange.complete else {"aborted": True}
    log.log(
        logging.DEBUG if exchange.route in ROUTINE else logging.INFO,
        "request",
        method=exchange.method,
        route=exchange.route,
        status=exchange.status,
        duration_ms=round(exchange.seconds * 1000, 3),
        **aborted,
    )
