"""Traces: of requests, their statements and the jobs they cause."""

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from service.observability import propagation, tracing
from service.observability.context import bound, current
from service.observability.otel import Tracing
from service.testing.application import make_settings, running
from tests.support.client import Client
from tests.support.processes import ask, service_process

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
NO_POST = "/api/posts/01989f2e-8f4b-7c57-9d3c-2b6f0a4c8e11"


class Traces:
    """The spans that ended, as a collector gets them."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracing = Tracing(self._exporter)

    def spans(self) -> list[ReadableSpan]:
        self.tracing.flush()
        return list(self._exporter.get_finished_spans())

    def one(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.spans() if span.name == name]
        return found


@pytest.fixture
def traces() -> Iterator[Traces]:
    """Tracing of this process, on during the test."""
    found = Traces()
    tracing.use(found.tracing)
    yield found
    tracing.stop()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def trace_id(span: ReadableSpan) -> str:
    assert span.context
    return f"{span.context.trace_id:032x}"


async def test_request_s_span_continues_the_caller_s_trace(traces: Traces, client: Client) -> None:
    answer = await client.get(f"{NO_POST}?secret=1", headers={"Traceparent": PARENT})
    span = traces.one("GET /api/posts/<id:post_id>")
    assert span.kind is SpanKind.SERVER
    assert trace_id(span) == TRACE_ID
    assert span.parent
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span) == {
        "http.request.method": "GET",
        "http.route": "/api/posts/<id:post_id>",
        "http.response.status_code": 404,
        "url.path": "/api/posts/<id:post_id>",
        "url.scheme": "http",
        "server.address": "127.0.0.1",
        "server.port": 8000,
        "request_id": answer.headers["X-Request-ID"],
    }
    assert span.resource.attributes["service.name"] == "service"


async def test_statements_are_spans_without_frame_or_values(traces: Traces, client: Client) -> None:
    await client.register("ada@example.com")
    request = traces.one("POST /auth/register")
    statements = [span for span in traces.spans() if span.kind is SpanKind.CLIENT]
    assert {span.name for span in statements} >= {"INSERT"}
    assert not {"BEGIN;", "COMMIT;", "ROLLBACK;"} & {span.name for span in statements}
    assert {trace_id(span) for span in statements} == {trace_id(request)}
    texts = [str(attributes(span)["db.query.text"]) for span in statements]
    assert any("INSERT INTO users" in text for text in texts)
    assert "ada@example.com" not in "".join(texts)


async def test_batched_lookup_is_a_span_of_each_request(traces: Traces, client: Client) -> None:
    await asyncio.gather(*(client.get(NO_POST) for _ in range(3)))
    requests = [span for span in traces.spans() if span.kind is SpanKind.SERVER]
    statements = [span for span in traces.spans() if span.kind is SpanKind.CLIENT]
    assert len({trace_id(span) for span in requests}) == 3
    assert {trace_id(span) for span in statements} == {trace_id(span) for span in requests}
    assert {span.name for span in statements} == {"SELECT"}
    for span in statements:
        assert "FROM posts" in str(attributes(span)["db.query.text"])
        assert attributes(span)["db.system.name"] == "postgresql"
        assert attributes(span)["db.operation.name"] == "SELECT"


async def test_error_spans_hold_no_values(traces: Traces, client: Client) -> None:
    await client.register("ada@example.com")
    await client.register("ada@example.com")
    failed = [span for span in traces.spans() if span.status.status_code is StatusCode.ERROR]
    assert [span.name for span in failed] == ["INSERT"]
    assert "ada@example.com" not in "".join(span.to_json() for span in traces.spans())


async def test_failed_request_s_span_is_an_error(traces: Traces, client: Client, db: Any) -> None:
    await db.execute("ALTER TABLE posts RENAME COLUMN title TO other")
    await client.get(NO_POST)
    span = traces.one("GET /api/posts/<id:post_id>")
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["http.response.status_code"] == 500
    assert attributes(span)["error.type"] == "500"


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
async def test_health_and_metrics_requests_leave_no_span(
    traces: Traces, client: Client, path: str
) -> None:
    await client.get(path)
    assert traces.spans() == []


@pytest.mark.parametrize(
    ("method", "path", "name", "known"),
    [
        ("GET", "/nothing/1", "GET", "GET"),
        ("BREW", "/nothing/2", "HTTP", "_OTHER"),
        ("TRACE", "/nothing/4", "TRACE", "TRACE"),
    ],
)
async def test_span_has_nothing_of_an_unknown_path_or_method(
    traces: Traces, client: Client, method: str, path: str, name: str, known: str
) -> None:
    await client.request(method, path, headers={"Host": "client.example"})
    (span,) = traces.spans()
    assert (span.name, attributes(span)["http.request.method"]) == (name, known)
    assert not {"http.route", "url.path"} & attributes(span).keys()
    assert not re.search(r"nothing|BREW|client\.example", span.to_json())


async def test_span_has_the_public_address(database_url: str, traces: Traces) -> None:
    address = "https://api.example.com/service"
    settings = make_settings(database_url=database_url, public_url=address)
    async with running(settings) as app:
        await Client(app).get(NO_POST, headers={"Host": "client.example"})
    found = attributes(traces.one("GET /api/posts/<id:post_id>"))
    assert found["url.scheme"] == "https"
    assert (found["server.address"], found["server.port"]) == ("api.example.com", 443)


async def test_spans_have_only_names_of_the_stable_conventions(
    traces: Traces, client: Client, db: Any
) -> None:
    await client.register("ada@example.com")
    await client.get(NO_POST)
    for span in traces.spans():
        names = attributes(span).keys()
        if span.kind is SpanKind.CLIENT:
            assert names >= {"db.system.name", "db.query.text", "db.operation.name"}
            assert span.name.upper() == attributes(span)["db.operation.name"]
        assert not {"db.system", "db.statement", "db.name", "db.user", "net.peer.name"} & names
        assert not {"http.method", "http.status_code", "http.target"} & names


@pytest.mark.parametrize(
    ("text", "shown", "operation"),
    [
        ("SELECT * FROM t1 WHERE a = $1 LIMIT 20", "SELECT * FROM t1 WHERE a = $1 LIMIT ?",
         "SELECT"),
        ("insert into t values ('it''s', 1.5e3, 0xFF)", "insert into t values (?, ?, ?)", "INSERT"),
        (r"SELECT 'a\', E'it\'s', N'x', U&'x', b'1'", "SELECT ?, ?, ?, ?, ?", "SELECT"),
        ("SELECT $$ it's $$, $a$ $$ $a$", "SELECT ?, ?", "SELECT"),
        ('SELECT "it\'s 1" -- it\'s\nFROM t', 'SELECT "it\'s 1" -- it\'s\nFROM t', "SELECT"),
        ("/* why */ -- really\n UPDATE t SET a = -1", "/* why */ -- really\n UPDATE t SET a = -?",
         "UPDATE"),
        ("SELECT int4 '7'::bigint", "SELECT int4 ?::bigint", "SELECT"),
        ("", "", ""),
    ],
)  # fmt: skip
async def test_query_text_of_a_span_has_no_literals(
    traces: Traces, text: str, shown: str, operation: str
) -> None:
    with tracing.span("GET", "SERVER", {}), tracing.statement(text):
        pass
    (span,) = [one for one in traces.spans() if one.kind is SpanKind.CLIENT]
    assert attributes(span)["db.query.text"] == shown
    assert attributes(span)["db.operation.name"] == operation


async def test_job_continues_the_trace_of_its_request(traces: Traces) -> None:
    with tracing.span("GET", "SERVER", {"traceparent": PARENT}), bound(request_id="a"):
        headers = propagation.inject()
    assert json.loads(json.dumps(headers)) == headers
    with propagation.job_context("send_mail", 7, headers):
        assert current() == {
            "job": "send_mail",
            "job_id": 7,
            "request_id": "a",
            "trace_id": TRACE_ID,
        }
    assert current() == {}
    span = traces.one("job send_mail")
    assert (span.kind, trace_id(span)) == (SpanKind.CONSUMER, TRACE_ID)
    assert attributes(span) == {"job.id": 7, "request_id": "a"}


async def test_failed_job_s_span_is_an_error(traces: Traces) -> None:
    with pytest.raises(RuntimeError), propagation.job_context("send_mail", 7, {}):
        raise RuntimeError
    assert traces.one("job send_mail").status.status_code is StatusCode.ERROR


def test_job_keeps_its_request_id_without_tracing() -> None:
    with bound(request_id="a"):
        headers = propagation.inject()
    assert headers == {"request_id": "a"}
    with propagation.job_context("send_mail", 7, headers):
        assert current() == {"job": "send_mail", "job_id": 7, "request_id": "a"}


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[ExportTraceServiceRequest] = []

    def spans(self) -> list[Any]:
        return [
            span
            for request in self.received
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == "/v1/traces"
        self.server.received.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever, args=(0.05,))
        thread.start()
        yield collector
        collector.shutdown()
        thread.join()


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    with collecting() as found:
        yield found


async def test_spans_reach_the_collector_before_the_process_ends(
    collector: Collector, database_url: str, tmp_path: Path
) -> None:
    options = {
        "otel_exporter_otlp_endpoint": f"http://127.0.0.1:{collector.server_port}",
        "log_format": "json",
    }
    async with service_process(database_url, tmp_path, **options) as service:
        assert (await ask(service.port, "GET", "/api/posts")).status == 200
        service.terminate()
        assert (await service.ended())[0] == 0
        lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    by_name = {span.name: span for span in collector.spans()}
    assert {"GET /api/posts", "SELECT"} <= by_name.keys()
    request = by_name["GET /api/posts"]
    assert by_name["SELECT"].parent_span_id == request.span_id
    (line,) = [line for line in lines if line.get("route") == "/api/posts"]
    assert line["trace_id"] == request.trace_id.hex()
    names = {
        attribute.key: attribute.value.string_value
        for attribute in collector.received[0].resource_spans[0].resource.attributes
    }
    assert names["service.name"] == "service"


@pytest.mark.proof
@pytest.mark.alone
async def test_absent_collector_stops_no_request_and_no_shutdown(
    database_url: str, tmp_path: Path
) -> None:
    options = {"otel_exporter_otlp_endpoint": "http://127.0.0.1:1"}
    async with service_process(database_url, tmp_path, **options) as service:
        assert (await ask(service.port, "GET", "/api/posts")).status == 200
        service.terminate()
        code, seconds = await service.ended()
    assert (code, seconds < 15) == (0, True)


WITHOUT_EXTRA = """
import sys
for name in list(sys.modules):
    assert not name.startswith("opentelemetry"), name
from service.app import create_app
from service.settings import SettingsError, load_settings
create_app(load_settings())
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
sys.modules["opentelemetry"] = None
try:
    create_app(load_settings(otel_exporter_otlp_endpoint="http://localhost:4318"))
except SettingsError as error:
    print(error)
"""


@pytest.mark.proof
def test_missing_otel_extra_is_an_error_only_with_an_endpoint(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRA],
        env={
            "SERVICE_ENV": "testing",
            "SECRET_KEY": "x" * 32,
            "DATABASE_URL": "postgresql://localhost/nowhere",
            "PYTHONPATH": ":".join(sys.path),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "OTEL_EXPORTER_OTLP_ENDPOINT: needs the extra `otel`" in done.stdout
