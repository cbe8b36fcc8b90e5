"""The log line, metrics and trace of each request, aborted ones included."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

import structlog

from service.observability import context, tracing
from service.web.request_state import ROUTINE, RequestState

log: Final = structlog.get_logger(__name__)


def record_request(state: RequestState) -> AbstractContextManager[object]:
    """Return a context that logs, counts and traces the request in it when it ends."""
    if tracing.active() and state.request.path not in ROUTINE:
        return _traced(state)
    return _Recorder(state)


class _Recorder:
    """A context that logs and counts a request; a generator would cost each request more."""

    __slots__ = ("_metrics", "_state")

    def __init__(self, state: RequestState) -> None:
        self._state = state
        self._metrics = state.app.metrics

    def __enter__(self) -> None:
        self._metrics.request_started()

    def __exit__(self, *_exc_info: object) -> None:
        state = self._state
        state.end()
        self._metrics.request_finished(state.method, state.route, state.status, state.seconds)
        _log_request(state)


@contextmanager
def _traced(state: RequestState) -> Iterator[None]:
    with tracing.span(state.method, "SERVER", state.request.headers) as span:
        try:
            with _Recorder(state):
                yield
        finally:
            if span:
                span.update_name(f"{state.method} {state.route}")
                span.set_attributes(_attributes(state))
                if state.status >= 500:
                    tracing.fail(span)


def _attributes(state: RequestState) -> dict[str, str | int]:
    values = context.current()
    return {
        "http.request.method": state.method,
        "http.route": state.route,
        "http.response.status_code": state.status,
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
