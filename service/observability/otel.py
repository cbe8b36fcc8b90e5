"""The setup of OpenTelemetry, imported only when tracing is on."""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Span, SpanKind, Status, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

EXPORT_TIMEOUT: Final = 3  # seconds
# Statements that only frame a transaction.
_TRANSACTION_STATEMENTS: Final = ("BEGIN", "COMMIT", "ROLLBACK")

# Literals of PostgreSQL's SQL, beside what only looks like one: quoted names, names with digits,
# and parameters such as $1.
_LITERAL: Final = re.compile(
    r"""
    (?P<kept> --[^\n]* | /\*.*?\*/ | "(?:[^"]|"")*" | \$\d+ | [^\W\d][\w$]*(?!\w|'|&') )
    | [Ee]'(?:[^'\\]|''|\\.)*'
    | (?: [BbNnXx] | [Uu]& )? '(?:[^']|'')*'
    | \$(?P<tag>\w*)\$ .*? \$(?P=tag)\$
    | 0[xXoObB][0-9a-fA-F_]+
    | \d[\d_]* (?:\.\d*)? (?:[eE][+-]?\d+)?
    """,
    re.VERBOSE | re.DOTALL,
)
# After blanks and comments.
_FIRST_WORD: Final = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*([A-Za-z]+)", re.DOTALL)


class Tracing:
    """The tracing of one process."""

    def __init__(self, exporter: SpanExporter) -> None:
        own = Resource({"service.name": "service", "service.version": version("service")})
        resource = Resource.create().merge(own).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource)
        self._provider.sampler = _CausedStatementSampler(self._provider.sampler)
        self._provider.add_span_processor(BatchSpanProcessor(_RedactingExporter(exporter)))
        self._tracer = self._provider.get_tracer("service")
        self._propagator = TraceContextTextMapPropagator()
        # The stable conventions for databases: the instrumentation reads nothing but this.
        os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "database"
        # The driver instead of SQLAlchemy, because some statements bypass SQLAlchemy.
        self._statements = AsyncPGInstrumentor()  # type: ignore[no-untyped-call,unused-ignore]
        self._statements.instrument(tracer_provider=self._provider)

    def span(self, name: str, kind: str, headers: Any) -> AbstractContextManager[Span]:
        """Trace a block as a span."""
        parent = self._propagator.extract(headers)
        return self._tracer.start_as_current_span(name, parent, SpanKind[kind])

    def statement(self, text: str) -> AbstractContextManager[Span]:
        """Trace a block as an SQL statement, with the attributes that the driver's spans have."""
        name, _, _ = text.partition(" ")
        attributes = {"db.system.name": "postgresql", "db.query.text": text}
        return self._tracer.start_as_current_span(name, None, SpanKind.CLIENT, attributes)

    def headers(self) -> dict[str, str]:
        """Return the W3C `traceparent` of the current span, if there is one."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier

    def flush(self) -> None:
        """Export the spans that have ended."""
        self._provider.force_flush()

    def close(self) -> None:
        """Export the remaining spans and stop."""
        self._statements.uninstrument()
        self._provider.shutdown()


def exporter(endpoint: str) -> SpanExporter:
    """Return an exporter by OTLP over HTTP, which also reads OTEL_EXPORTER_OTLP_HEADERS."""
    # The exporter warns for every batch while the collector is down.
    logging.getLogger("opentelemetry.exporter").setLevel(logging.ERROR)
    return OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT)


class _CausedStatementSampler(Sampler):
    """A sampler that drops statements outside of requests and jobs, and transaction statements."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> SamplingResult:
        if kind is SpanKind.CLIENT:
            parent = get_current_span(parent_context).get_span_context()
            if not parent.is_valid or name.rstrip(";") in _TRANSACTION_STATEMENTS:
                return SamplingResult(Decision.DROP)
        return self._sampler.should_sample(parent_context, trace_id, name, kind, *args, **kwargs)

    def get_description(self) -> str:
        return f"caused statements of {self._sampler.get_description()}"


class _RedactingExporter(SpanExporter):
    """An exporter without values: those of statements, and those of error messages.

    PostgreSQL's messages quote whole rows.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([_redact(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _redact(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=span.name, context=span.context, parent=span.parent, resource=span.resource,
        attributes=_attributes(span), links=span.links, kind=span.kind,
        status=Status(span.status.status_code), start_time=span.start_time, end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )  # fmt: skip


def _attributes(span: ReadableSpan) -> Mapping[str, AttributeValue]:
    attributes = dict(span.attributes or {})
    text = attributes.get("db.query.text")
    if isinstance(text, str):
        attributes["db.query.text"], attributes["db.operation.name"] = _without_values(text)
    return attributes


@lru_cache(1_000)
def _without_values(text: str) -> tuple[str, str]:
    """Return a statement with `?` for each literal, and its first word in capitals."""
    query = _LITERAL.sub(lambda found: found["kept"] or "?", text)
    word = _FIRST_WORD.match(query)
    return query, word[1].upper() if word else ""
