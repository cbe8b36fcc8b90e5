"""The metrics of one application, in Prometheus' text format.

Every label has few values: routes are templates, methods and statuses come from fixed sets.
"""

import asyncio
import platform
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from time import monotonic
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from service.errors import Unavailable

QUERY_INTERVAL: Final = 5.0  # seconds between two runs of a query, at least
# In seconds: a cached response takes 0.001, hashing a password some 0.05, a statement at most 15.
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)

# A `_created` series beside each counter and histogram would nearly double what is scraped.
disable_created_metrics()  # type: ignore[no-untyped-call]

Labels = tuple[str, ...]
Query = Callable[[], Awaitable[Mapping[Labels, float]]]


class Metrics:
    """The counters, gauges and histograms of one application, with their registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._samplers: list[Callable[[], None]] = []
        self._query_gauges: list[_QueryGauge] = []
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        labels = ("method", "route", "status")
        self._requests = self._counter("http_requests", "Requests that have ended.", labels)
        self._durations = Histogram(
            "http_request_duration_seconds", "From a request to the end of its answer.", labels,
            buckets=BUCKETS, registry=self.registry,
        )  # fmt: skip
        self._in_flight = self._gauge("http_requests_in_flight", "Requests that have not ended.")
        self._failures = self._counter(
            "metrics_query_failures", "Queries for metrics that the database did not answer."
        )
        info = self._gauge("service_build_info", "The version that runs.", ("version", "python"))
        info.labels(version("service"), platform.python_version()).set(1)
        ProcessCollector(registry=self.registry)

    def request_started(self) -> None:
        """Count a request as in flight."""
        self._in_flight.inc()

    def request_finished(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request as finished, answered or aborted, after this many seconds."""
        self._in_flight.dec()
        key = (method, route, status)
        series = self._series.get(key)
        if series is None:
            series = (self._requests.labels(*key), self._durations.labels(*key))
            self._series[key] = series
        series[0].inc()
        series[1].observe(seconds)

    def add_gauge(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Add a gauge, whose value is read at each scrape."""
        gauge = self._gauge(name, documentation)
        self._samplers.append(lambda: gauge.set(read()))

    def add_counter(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        read: Callable[[], Mapping[Labels, float]],
    ) -> None:
        """Add a counter, whose totals by label values are read at each scrape and only grow."""
        counter = self._counter(name, documentation, labels)
        last: dict[Labels, float] = {}

        def sample() -> None:
            for values, total in read().items():
                child = counter.labels(*values) if values else counter
                child.inc(total - last.get(values, 0))
                last[values] = total

        self._samplers.append(sample)

    def add_query_gauge(
        self, name: str, documentation: str, labels: Sequence[str], query: Query
    ) -> None:
        """Add a gauge whose values by label values a query returns, at most once in QUERY_INTERVAL.

        A query that raises Unavailable is counted as failed, and the gauge keeps its values.
        """
        self._query_gauges.append(_QueryGauge(self._gauge(name, documentation, labels), query))

    async def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        for sample in self._samplers:
            sample()
        for gauge in self._query_gauges:
            try:
                await gauge.refresh()
            except Unavailable:
                self._failures.inc()
        return await asyncio.to_thread(generate_latest, self.registry)

    def _gauge(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(name, documentation, labels, registry=self.registry)

    def _counter(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(name, documentation, labels, registry=self.registry)


class _QueryGauge:
    """A gauge whose values a query returns."""

    def __init__(self, gauge: Gauge, query: Query) -> None:
        self._gauge = gauge
        self._query = query
        self._lock = asyncio.Lock()
        self._queried_at = -QUERY_INTERVAL
        self._seen_labels: set[Labels] = set()

    async def refresh(self) -> None:
        """Run the query if its last result is older than QUERY_INTERVAL. Raises Unavailable."""
        async with self._lock:
            if monotonic() - self._queried_at < QUERY_INTERVAL:
                return
            self._queried_at = monotonic()
            values = await self._query()
            self._seen_labels |= values.keys()
            for labels in self._seen_labels:
                self._gauge.labels(*labels).set(values.get(labels, 0))
