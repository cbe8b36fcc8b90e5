"""Traces by OpenTelemetry, on when OTEL_EXPORTER_OTLP_ENDPOINT is set.

A span per request and per job, and one for each SQL statement in them. Nothing of OpenTelemetry
is imported otherwise: it comes with the extra `otel`. Traces are the process's, not an
application's, because what they watch (the database driver) is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from service.observability.context import bound
from service.settings import Settings, SettingsError

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from service.observability.otel import Tracing

_active: "Tracing | None" = None


def start(settings: Settings) -> None:
    """Trace from now on, if the settings say so. Raises SettingsError without the extra."""
    if not settings.otel_exporter_otlp_endpoint or _active:
        return
    try:
        from service.observability import otel
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"OTEL_EXPORTER_OTLP_ENDPOINT: needs the extra `otel` ({error.name} is not installed): "
            "pip install 'service[otel]'"
        ) from error
    use(otel.Tracing(otel.exporter(settings.otel_exporter_otlp_endpoint)))


def use(tracing: "Tracing | None") -> None:
    """Make these the process's traces."""
    global _active
    _active = tracing


def stop() -> None:
    """Send what is left and stop; blocks, for some seconds when the collector does not answer."""
    if _active:
        _active.close()
        use(None)


def active() -> bool:
    """Whether anything is traced."""
    return _active is not None


@contextmanager
def span(name: str, kind: str, headers: Any) -> Iterator["Span | None"]:
    """Be in a span, and tell its trace in the log lines; None while nothing is traced.

    `kind` is OpenTelemetry's (SERVER, CONSUMER); a W3C `traceparent` among the headers, a
    case-insensitive mapping, names the parent.
    """
    if _active is None:
        yield None
        return
    with (
        _active.span(name, kind, headers) as opened,
        bound(trace_id=f"{opened.get_span_context().trace_id:032x}"),
    ):
        yield opened


@contextmanager
def statement(text: str) -> Iterator[None]:
    """Be in the span of a statement that others ask as well, of which the driver tells nobody."""
    if _active is None:
        yield
        return
    with _active.statement(text):
        yield


def fail(span: "Span") -> None:
    """Mark a span as failed."""
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR)


def headers() -> dict[str, str]:
    """What tells another process of the present span: its W3C `traceparent`."""
    return _active.headers() if _active else {}
