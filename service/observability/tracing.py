"""Tracing by OpenTelemetry, on when OTEL_EXPORTER_OTLP_ENDPOINT is set.

Each request, each job and each SQL statement in them is a span. OpenTelemetry comes with the extra
`otel` and is imported only when tracing is on. Tracing belongs to the process, not to an
application, because the instrumentation of the database driver does.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from service.observability.context import bound
from service.settings import Settings, SettingsError

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from service.observability.otel import Tracing

_active: "Tracing | None" = None


def start(settings: Settings) -> None:
    """Start tracing if it is configured. Raises SettingsError without the extra `otel`."""
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
    """Set the tracing of the process."""
    global _active
    _active = tracing


def stop() -> None:
    """Export the remaining spans and stop; blocks for seconds when the collector is down."""
    if _active:
        _active.close()
        use(None)


def active() -> bool:
    """Whether tracing is on."""
    return _active is not None


@contextmanager
def span(name: str, kind: str, headers: Any) -> Iterator["Span | None"]:
    """Trace a block as a span and log its trace id; the span is None while tracing is off.

    `kind` is OpenTelemetry's (SERVER, CONSUMER); a W3C `traceparent` in `headers`, a
    case-insensitive mapping, names the parent.
    """
    if _active is None:
        yield None
        return
    with _active.span(name, kind, headers) as traced, bound(trace_id=_trace_id(traced)):
        yield traced


def statement(text: str) -> "AbstractContextManager[Span | None]":
    """Trace a block as the SQL statement that it shares with others of its batch.

    The driver's own span belongs to the batch, which runs outside of any request.
    """
    return _active.statement(text) if _active else nullcontext()


def exported_trace_id(span: "Span") -> str | None:
    """Return the id of a span's trace; None when sampling leaves the span out."""
    return _trace_id(span) if span.get_span_context().trace_flags.sampled else None


def _trace_id(span: "Span") -> str:
    return f"{span.get_span_context().trace_id:032x}"


def fail(span: "Span") -> None:
    """Mark a span as failed."""
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR)


def headers() -> dict[str, str]:
    """Return the W3C `traceparent` of the current span for another process, if there is a span."""
    return _active.headers() if _active else {}
