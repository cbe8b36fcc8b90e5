"""Logs, metrics and traces of each request as it really ended: aborted ones, too."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Final

import structlog

from service.observability import context, tracing
from service.observability.context import current
from service.observability.metrics import Metrics
from service.web.metrics import metrics
from service.web.request_state import ROUTINE, Exchange

log: Final = structlog.get_logger(__name__)


def observed(exchange: Exchange) -> AbstractContextManager[object]:
    """Tell of a request once its answer is sent, or never will be."""
    if tracing.active() and exchange.request.path not in ROUTINE:
        return _traced(exchange)
    return _Observed(exchange)


class _Observed:
    # Not a generator: every request comes through here.

    __slots__ = ("_exchange", "_metrics")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._metrics: Metrics = metrics(exchange.app)

    def __enter__(self) -> None:
        self._metrics.request_started()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _at: TracebackType | None,
    ) -> None:
        self._exchange.end()
        self._metrics.request_finished(self._exchange)
        tell(self._exchange)


@contextmanager
def _traced(exchange: Exchange) -> Iterator[None]:
    with tracing.span(exchange.method, "SERVER", exchange.request.headers) as span:
        try:
            with _Observed(exchange):
                yield
        finally:
            if span:
                span.update_name(f"{exchange.method} {exchange.route}")
                span.set_attributes(_attributes(exchange))
                if exchange.status >= 500:
                    tracing.fail(span)


def _attributes(exchange: Exchange) -> dict[str, str | int]:
    values = current()
    return {
        "http.request.method": exchange.method,
        "http.route": exchange.route,
        "http.response.status_code": exchange.status,
        **{name: values[name] for name in ("request_id", "user_id") if name in values},
    }


def begin(exchange: Exchange) -> None:
    """Let every line tell whose request it belongs to."""
    known: dict[str, Any] = {"request_id": exchange.request_id}
    if exchange.client_ip:
        known["client_ip"] = exchange.client_ip
    context.set(known)


def bind_user(user_id: str) -> None:
    """Name the caller in the request's log lines, from here on."""
    context.bind("user_id", user_id)


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
