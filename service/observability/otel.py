"""OpenTelemetry, set up; imported only where traces are wanted."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Span, SpanKind, Status, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

EXPORT_TIMEOUT: Final = 3  # seconds
# The driver's frame around statements: it tells nothing.
_FRAME: Final = ("BEGIN", "COMMIT", "ROLLBACK")


class Tracing:
    """The traces of one process."""

    def __init__(self, exporter: SpanExporter) -> None:
        own = Resource({"service.name": "service", "service.version": version("service")})
        resource = Resource.create().merge(own).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource)
        self._provider.sampler = _Meaningful(self._provider.sampler)
        self._provider.add_span_processor(BatchSpanProcessor(_Discreet(exporter)))
        self._tracer = self._provider.get_tracer("service")
        self._propagator = TraceContextTextMapPropagator()
        # The driver, not SQLAlchemy: what goes past SQLAlchemy shows, too.
        self._statements = AsyncPGInstrumentor()  # type: ignore[no-untyped-call,unused-ignore]
        self._statements.instrument(tracer_provider=self._provider)

    @contextmanager
    def span(self, name: str, kind: str, headers: Any) -> Iterator[Span]:
        """Be in a span."""
        with self._tracer.start_as_current_span(
            name, self._propagator.extract(headers), SpanKind[kind]
        ) as span:
            yield span

    @contextmanager
    def statement(self, text: str) -> Iterator[None]:
        """Be in the span of a statement, as the driver's spans are."""
        with self._tracer.start_as_current_span(
            text.partition(" ")[0],
            kind=SpanKind.CLIENT,
            attributes={"db.system": "postgresql", "db.statement": text},
        ):
            yield

    def headers(self) -> dict[str, str]:
        """The W3C `traceparent` of the present span, if there is one."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier

    def flush(self) -> None:
        """Send what has ended so far."""
        self._provider.force_flush()

    def close(self) -> None:
        """Send what is left, and stop."""
        self._statements.uninstrument()
        self._provider.shutdown()


def exporter(endpoint: str) -> SpanExporter:
    """What sends spans to a collector by OTLP over HTTP; OTEL_EXPORTER_OTLP_HEADERS counts."""
    # It complains of every batch; that the collector is away is known after the first.
    logging.getLogger("opentelemetry.exporter").setLevel(logging.ERROR)
    return OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT)


class _Meaningful(Sampler):
    """Leaves out statements that no request and no job asked for, and the driver's frame."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(
        self,
        parent_context: Any,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> SamplingResult:
        if kind is SpanKind.CLIENT:
            parent = get_current_span(parent_context).get_span_context()
            if not parent.is_valid or name.rstrip(";") in _FRAME:
                return SamplingResult(Decision.DROP)
        return self._sampler.should_sample(parent_context, trace_id, name, kind, *args, **kwargs)

    def get_description(self) -> str:
        return f"meaningful of {self._sampler.get_description()}"


class _Discreet(SpanExporter):
    """Leaves out the words of errors: PostgreSQL's quote whole rows."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([_without_words(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _without_words(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
