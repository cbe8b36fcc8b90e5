"""Metrics in OpenMetrics' format, with the traces of requests as exemplars."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import parser
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Exemplar, Sample

from service.observability import tracing
from service.observability.otel import Tracing
from tests.support.client import Client

# What Prometheus 2 and 3 send.
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
PROMETHEUS_OF_PLAIN_TEXT = "text/plain;version=0.0.4;q=0.5,*/*;q=0.4"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PLAIN = "text/plain; version=0.0.4; charset=utf-8"
BUCKET = "http_request_duration_seconds_bucket"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = {"Traceparent": f"{PARENT}01"}
NOT_SAMPLED = {"Traceparent": f"{PARENT}00"}


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (PROMETHEUS, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ("Application/OpenMetrics-Text; Version=1.0.0; Charset=utf-8", OPENMETRICS),
        ("text/html,application/openmetrics-text;q=0.3,*/*;q=0.1", OPENMETRICS),
        (PROMETHEUS_OF_PLAIN_TEXT, PLAIN),
        (None, PLAIN),
        ("", PLAIN),
        ("*/*", PLAIN),
        ("text/plain;version=1.0.0", PLAIN),
        ("application/json", PLAIN),
        ("application/openmetrics-text;q=0", PLAIN),
        ("application/openmetrics-text;q=0.5,text/plain", PLAIN),
        ("application/openmetrics-text;q=0.5,*/*", PLAIN),
        ("application/openmetrics-text;version=0.0.1", PLAIN),
        ("application/openmetrics-text;version=99", PLAIN),
        ('application/openmetrics-text;version="', PLAIN),
        ("application/openmetrics-text;version=x\u00e9", PLAIN),
    ],
)
async def test_format_of_metrics_is_the_one_that_is_asked_for(
    anyone: Client, accept: str | None, content_type: str
) -> None:
    headers = {} if accept is None else {"Accept": accept}
    answer = await anyone.get("/metrics", headers=headers)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == content_type
    assert answer.body.endswith(b"\n# EOF\n") is (content_type == OPENMETRICS)
    assert answer.body.count(b"# EOF") == (content_type == OPENMETRICS)


async def read(client: Client) -> list[Sample]:
    """Every sample of the metrics, as a strict parser reads them."""
    answer = await client.get("/metrics", headers={"Accept": PROMETHEUS})
    families = text_string_to_metric_families(answer.body.decode())  # type: ignore[no-untyped-call]
    return [sample for family in families for sample in family.samples]


async def test_both_formats_have_the_same_series(client: Client) -> None:
    await client.get("/api/posts")
    plain = (await client.get("/metrics")).body.decode()
    in_plain = {
        (sample.name, *sorted(sample.labels.items()))
        for family in parser.text_string_to_metric_families(plain)
        for sample in family.samples
        if sample.labels.get("route") != "/metrics"
    }
    in_openmetrics = {
        (sample.name, *sorted(sample.labels.items()))
        for sample in await read(client)
        if sample.labels.get("route") != "/metrics"
    }
    assert in_openmetrics == in_plain


@dataclass
class Examples:
    """The exemplars of requests, by route."""

    samples: list[Sample]

    def of(self, route: str) -> list[Exemplar]:
        return [
            sample.exemplar
            for sample in self.samples
            if sample.exemplar is not None and sample.labels.get("route") == route
        ]


@pytest.fixture
def traced() -> Iterator[None]:
    """Tracing of this process, on during the test."""
    tracing.use(Tracing(InMemorySpanExporter()))
    yield
    tracing.stop()


@pytest.mark.usefixtures("traced")
async def test_traced_request_is_an_exemplar_of_its_bucket_alone(client: Client) -> None:
    await client.get("/api/posts", headers=SAMPLED)
    samples = await read(client)
    (exemplar,) = Examples(samples).of("/api/posts")
    assert exemplar.labels == {"trace_id": TRACE_ID}
    (shown,) = [sample for sample in samples if sample.exemplar is exemplar]
    assert shown.name == BUCKET
    assert exemplar.value <= float(shown.labels["le"])
    (total,) = [
        sample
        for sample in samples
        if sample.name == "http_request_duration_seconds_sum"
        and sample.labels["route"] == "/api/posts"
    ]
    assert exemplar.value == total.value


@pytest.mark.usefixtures("traced")
async def test_request_whose_trace_is_not_exported_is_no_exemplar(client: Client) -> None:
    await client.get("/api/posts", headers=NOT_SAMPLED)
    assert not Examples(await read(client)).of("/api/posts")


@pytest.mark.usefixtures("traced")
async def test_plain_text_has_no_exemplars(client: Client) -> None:
    await client.get("/api/posts", headers=SAMPLED)
    assert TRACE_ID not in (await client.get("/metrics")).body.decode()


async def test_without_traces_there_are_no_exemplars(client: Client) -> None:
    await client.get("/api/posts", headers=SAMPLED)
    assert not [sample for sample in await read(client) if sample.exemplar]


async def test_document_says_both_formats_of_the_metrics(anyone: Client) -> None:
    document = (await anyone.get("/openapi.json")).json
    content = document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]
    assert set(content) == {"text/plain", "application/openmetrics-text"}
