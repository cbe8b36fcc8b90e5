"""One log line per request, and what every line that is written during it carries.

What clients send as they like (path, query, headers, body) is in none of them.
"""

import logging
from typing import Final

import structlog
from quart import Quart
from structlog.contextvars import bind_contextvars, clear_contextvars

from service.web.exchange import ROUTINE, Exchange
from service.web.proxy import client_ip

log: Final = structlog.get_logger(__name__)


def forget() -> None:
    """Begin a request: nothing is known of it yet."""
    clear_contextvars()


def bind_user(user_id: str) -> None:
    """Name the caller in the request's log lines, from here on."""
    bind_contextvars(user_id=user_id)


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


async def _begin() -> None:
    if ip := client_ip():
        bind_contextvars(client_ip=ip)


def init_app(app: Quart) -> None:
    """Let every log line of a request tell whose it is."""
    app.before_request(_begin)
