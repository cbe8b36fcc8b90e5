"""Logs, metrics and traces of each request as it really ended: aborted ones, too."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType

from service import tracing
from service.context import known
from service.web import logging
from service.web.exchange import ROUTINE, Exchange
from service.web.metrics import Metrics, metrics


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
        self._metrics.begin()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _at: TracebackType | None,
    ) -> None:
        self._exchange.end()
        self._metrics.end(self._exchange)
        logging.tell(self._exchange)


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
    values = known()
    return {
        "http.request.method": exchange.method,
        "http.route": exchange.route,
        "http.response.status_code": exchange.status,
        **{name: values[name] for name in ("request_id", "user_id") if name in values},
    }
