"""The state of the current request."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING, Final
from uuid import UUID

from quart import Request

if TYPE_CHECKING:
    from quart_auth import AuthUser
    from sqlalchemy.ext.asyncio import AsyncSession

    from service.web.limiter import LimitResult
    from service.web.server.application import Service

UNMATCHED: Final = "unmatched"
OTHER: Final = "other"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# nginx's status for a client that disconnected before the response.
CLIENT_CLOSED_REQUEST: Final = 499
# Paths that machines request every few seconds.
ROUTINE: Final = frozenset({"/health/live", "/health/ready", "/metrics"})


class RequestState:
    """The state of one request, at a fraction of the cost of Quart's `g`."""

    __slots__ = (
        "abort", "app", "autocommits", "client_ip", "complete", "identify", "keep_changes",
        "key_id", "limit_result", "method", "principal", "request", "request_id", "seconds",
        "session", "started", "status",
    )  # fmt: skip

    def __init__(self, app: "Service", request: Request, abort: Callable[[], None]) -> None:
        self.started = perf_counter()
        self.app = app
        self.request = request
        # Cancels the request as if the client had disconnected, even while a client reads nothing.
        self.abort = abort
        self.method = request.method if request.method in METHODS else OTHER
        self.request_id = ""
        self.client_ip: str | None = None
        self.principal: AuthUser | None = None
        # Looks up who the caller is, when that is not known without.
        self.identify: Callable[[], Awaitable[None]] | None = None
        # The API key that the request was allowed by, if it was one.
        self.key_id: UUID | None = None
        self.session: AsyncSession | None = None
        # Whether single statements may have been committed beside the session.
        self.autocommits = False
        self.keep_changes = False
        self.limit_result: LimitResult | None = None
        self.status = CLIENT_CLOSED_REQUEST
        self.complete = False
        self.seconds = 0.0

    @property
    def route(self) -> str:
        """The template of the path, never the path itself, which the client chooses."""
        rule = self.request.url_rule
        return rule.rule if rule else UNMATCHED

    def begin(self) -> None:
        """Make this the current state, in this task and in those that it starts."""
        _current.set(self)

    def end(self) -> None:
        """Note the duration of the request, at its end."""
        self.seconds = perf_counter() - self.started


_current: Final[ContextVar[RequestState]] = ContextVar("request_state")


def request_state() -> RequestState:
    """Return the current request's state. Raises LookupError outside of a request."""
    return _current.get()


def find_request_state() -> RequestState | None:
    """Return the current request's state; None outside of a request."""
    return _current.get(None)
