"""The log line, metrics and trace of each request, aborted ones included."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final
from urllib.parse import urlsplit

import structlog

from service.observability import context, tracing
from service.settings.types import DEFAULT_PORTS
from service.web.request_state import OTHER, ROUTINE, UNMATCHED, RequestState

_OTHER_METHOD: Final = "_OTHER"
# Methods that HTTP defines and no route has.
_UNROUTED_METHODS: Final = frozenset({"CONNECT", "TRACE"})
_ROUTE_NAMES: Final = ("http.route", "url.path")

log: Final = structlog.get_logger(__name__)


def record_request(state: RequestState) -> AbstractContextManager[object]:
    """Return a context that logs, counts and traces the request in it when it ends."""
    if tracing.active() and state.request.path not in ROUTINE:
        return _traced(state)
    return _Recorder(state)


class _Recorder:
    """A context that logs and counts a request; a generator would cost each request more."""

    __slots__ = ("_metrics", "_state", "_trace_id")

    def __init__(self, state: RequestState, trace_id: str | None = None) -> None:
        self._state = state
        self._metrics = state.app.request_metrics
        self._trace_id = trace_id

    def __enter__(self) -> None:
        self._metrics.in_flight += 1

    def __exit__(self, *_exc_info: object) -> None:
        state = self._state
        state.end()
        self._metrics.finish(state.method, state.route, state.status, state.seconds, self._trace_id)
        _log_request(state)


@contextmanager
def _traced(state: RequestState) -> Iterator[None]:
    method = _known_method(state)
    with tracing.span(method, "SERVER", state.request.headers) as span:
        try:
            with _Recorder(state, tracing.exported_trace_id(span) if span else None):
                yield
        finally:
            if span:
                span.update_name(_span_name(state, method))
                span.set_attributes(_attributes(state, method))
                if state.status >= 500:
                    tracing.fail(span)


def _known_method(state: RequestState) -> str:
    """Return the method, or `_OTHER` for one that HTTP does not define (RFC 9110, §9; RFC 5789)."""
    method = state.request.method
    return method if state.method != OTHER or method in _UNROUTED_METHODS else _OTHER_METHOD


def _span_name(state: RequestState, method: str) -> str:
    name = "HTTP" if method == _OTHER_METHOD else method
    return name if state.route == UNMATCHED else f"{name} {state.route}"


def _attributes(state: RequestState, method: str) -> dict[str, str | int]:
    """Return the attributes of a server's span, by OpenTelemetry's stable conventions for HTTP.

    Nothing has text that the client chose: the path is the route's template, and the address is
    the one that the settings name.
    """
    values = context.current()
    settings = state.app.settings
    address = urlsplit(settings.public_address)
    return {
        "http.request.method": method,
        "http.response.status_code": state.status,
        "url.scheme": address.scheme if settings.public_url else state.request.scheme,
        "server.address": address.hostname or "",
        "server.port": address.port or DEFAULT_PORTS[address.scheme],
        **({} if state.route == UNMATCHED else dict.fromkeys(_ROUTE_NAMES, state.route)),
        **({"error.type": str(state.status)} if state.status >= 500 else {}),
        **{name: values[name] for name in ("request_id", "user_id") if name in values},
    }


def set_context(state: RequestState) -> None:
    """Add the request's id and client address to each of its log lines."""
    values = {"request_id": state.request_id}
    if state.client_ip:
        values["client_ip"] = state.client_ip
    context.set(values)


def bind_user(user_id: str) -> None:
    """Add the user's id to the log lines and the span of the request."""
    context.bind("user_id", user_id)


def _log_request(state: RequestState) -> None:
    aborted = {} if state.complete else {"aborted": True}
    log.log(
        logging.DEBUG if state.route in ROUTINE else logging.INFO,
        "request",
        method=state.method,
        route=state.route,
        status=state.status,
        duration_ms=round(state.seconds * 1000, 3),
        **aborted,
    )
