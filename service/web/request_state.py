"""A request and its answer: what this service keeps of them, from the first byte to the last."""

from collections.abc import Callable
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from quart import Quart, Request

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from service.web.limiter import Verdict

UNMATCHED: Final = "unmatched"
OTHER: Final = "other"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# nginx's number for a client that went away before there was an answer.
CLIENT_CLOSED_REQUEST: Final = 499
# What machines ask every few seconds.
ROUTINE: Final = frozenset({"/health/live", "/health/ready", "/metrics"})


class Exchange:
    """One request with what belongs to it; Quart's `g` would do, at several times the cost."""

    __slots__ = (
        "app",
        "client_ip",
        "complete",
        "give_up",
        "keep_changes",
        "method",
        "principal",
        "request",
        "request_id",
        "seconds",
        "session",
        "started",
        "status",
        "verdict",
    )

    def __init__(self, app: Quart, request: Request, give_up: Callable[[], None]) -> None:
        self.started = perf_counter()
        self.app = app
        self.request = request
        # Ends it as if the client had gone, also when it waits for a client that reads nothing.
        self.give_up = give_up
        self.method = request.method if request.method in METHODS else OTHER
        self.request_id = ""
        self.client_ip: str | None = None
        # quart-auth's AuthUser, once it is looked for.
        self.principal: Any = None
        self.session: AsyncSession | None = None
        self.keep_changes = False
        self.verdict: Verdict | None = None
        self.status = CLIENT_CLOSED_REQUEST
        self.complete = False
        self.seconds = 0.0

    @property
    def extensions(self) -> dict[str, Any]:
        """What the application is made of."""
        return self.app.extensions

    @property
    def route(self) -> str:
        """The template of the path; never the path itself, which the client chooses."""
        rule = self.request.url_rule
        return rule.rule if rule else UNMATCHED

    def begin(self) -> None:
        """Be what `exchange()` tells, in this task and those that it starts."""
        _exchange.set(self)

    def end(self) -> None:
        """Note the time: the answer is sent, or never will be."""
        self.seconds = perf_counter() - self.started


_exchange: Final[ContextVar[Exchange]] = ContextVar("exchange")


def exchange() -> Exchange:
    """The present request's exchange."""
    return _exchange.get()
