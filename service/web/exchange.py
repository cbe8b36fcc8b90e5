"""A request and how it was answered, in words of which there are only so many."""

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, Final

from quart import Request

Send = Callable[[Any], Awaitable[None]]

UNMATCHED: Final = "unmatched"
OTHER: Final = "other"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# nginx's number for a client that went away before there was an answer.
CLIENT_CLOSED_REQUEST: Final = 499
# What machines ask every few seconds.
ROUTINE: Final = frozenset({"/health/live", "/health/ready", "/metrics"})


class Exchange:
    """What logs, metrics and traces tell of a request."""

    __slots__ = ("_send", "_started", "complete", "method", "request", "seconds", "status")

    def __init__(self, request: Request, send: Send) -> None:
        self._send = send
        self._started = perf_counter()
        self.request = request
        self.method = request.method if request.method in METHODS else OTHER
        self.status = CLIENT_CLOSED_REQUEST
        self.complete = False
        self.seconds = 0.0

    @property
    def route(self) -> str:
        """The template of the path; never the path itself, which the client chooses."""
        rule = self.request.url_rule
        return rule.rule if rule else UNMATCHED

    async def send(self, message: Any) -> None:
        """Pass a message on to the client."""
        await self._send(message)
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.complete = not message.get("more_body", False)

    def end(self) -> None:
        """Note the time: the answer is sent, or never will be."""
        self.seconds = perf_counter() - self._started
