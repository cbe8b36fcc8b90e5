"""Logs, metrics and traces of each request as it really ended: aborted ones, too."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from quart import Request
from structlog.contextvars import get_contextvars

from service import tracing
from service.web import logging, metrics
from service.web.asgi import HTTPConnection
from service.web.exchange import ROUTINE, Exchange, Send


class ObservedConnection(HTTPConnection):
    """Tells of a request once its answer is sent, or never will be."""

    async def handle_request(self, request: Request, send: Send) -> None:
        exchange = Exchange(request, send)
        observed = metrics.metrics(self.app)
        logging.forget()
        observed.begin()
        with nullcontext() if request.path in ROUTINE else _traced(exchange):
            try:
                await super().handle_request(request, exchange.send)
            finally:
                exchange.end()
                observed.end(exchange)
                logging.tell(exchange)


@contextmanager
def _traced(exchange: Exchange) -> Iterator[None]:
    with tracing.span(exchange.method, "SERVER", exchange.request.headers) as span:
        try:
            yield
        finally:
            if span:
                span.update_name(f"{exchange.method} {exchange.route}")
                span.set_attributes(_attributes(exchange))
                if exchange.status >= 500:
                    tracing.fail(span)


def _attributes(exchange: Exchange) -> dict[str, str | int]:
    known = get_contextvars()
    return {
        "http.request.method": exchange.method,
        "http.route": exchange.route,
        "http.response.status_code": exchange.status,
        **{name: known[name] for name in ("request_id", "user_id") if name in known},
    }
