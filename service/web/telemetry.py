"""Logs, metrics and traces of each request as it really ended: aborted ones, too."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Final

import structlog

from service.observability import context, tracing
from service.observability.context import current
from service.web.request_state import ROUTINE, RequestState

log: Final = structlog.get_logger(__name__)


def observed(state: RequestState) -> AbstractContextManager[object]:
    """Tell of a request once its answer is sent, or never will be."""
    if tracing.active() and state.request.path not in ROUTINE:
        return _traced(state)
    return _Observed(state)


class _Observed:
    # Not a generator: every request comes through here.

    __slots__ = ("_metrics", "_state")

    def __init__(self, state: RequestState) -> None:
        self._state = state
        self._metrics = state.app.metrics

    def __enter__(self) -> None:
        self._metrics.request_started()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _at: TracebackType | None,
    ) -> None:
        state = self._state
        state.end()
        self._metrics.request_finished(state.method, state.route, state.status, state.seconds)
        log_request(state)


@contextmanager
def _traced(state: RequestState) -> Iterator[None]:
    with tracing.span(state.method, "SERVER", state.request.headers) as span:
        try:
            with _Observed(state):
                yield
        finally:
            if span:
                span.update_name(f"{state.method} {state.route}")
                span.set_attributes(_attributes(state))
                if state.status >= 500:
                    tracing.fail(span)


def _attributes(state: RequestState) -> dict[str, str | int]:
    values = current()
    return {
        "http.request.method": state.method,
        "http.route": state.route,
        "http.response.status_code": state.status,
        **{name: values[name] for name in ("request_id", "user_id") if name in values},
    }


def set_context(state: RequestState) -> None:
    """Put the request's id and client into every log line that is written during it."""
    values: dict[str, Any] = {"request_id": state.request_id}
    if state.client_ip:
        values["client_ip"] = state.client_ip
    context.set(values)


def bind_user(user_id: str) -> None:
    """Name the caller in the request's log lines, from here on."""
    context.bind("user_id", user_id)


def log_request(state: RequestState) -> None:
    """Write the request's line. Status 499: the client went away before there was an answer."""
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
