"""Logs, metrics and traces of each request as it really ended: aborted ones, too."""

from collections.abc import Iterator
from contextlib import contextmanager

from quart import Request

from service.web import logging, metrics
from service.web.asgi import HTTPConnection
from service.web.exchange import Exchange, Send


class ObservedConnection(HTTPConnection):
    """Tells of a request once its answer is sent, or never will be."""

    async def handle_request(self, request: Request, send: Send) -> None:
        exchange = Exchange(request, send)
        with self._observed(exchange):
            await super().handle_request(request, exchange.send)

    @contextmanager
    def _observed(self, exchange: Exchange) -> Iterator[None]:
        observed = metrics.metrics(self.app)
        logging.forget()
        observed.begin()
        try:
            yield
        finally:
            exchange.end()
            observed.end(exchange)
            logging.tell(exchange)
