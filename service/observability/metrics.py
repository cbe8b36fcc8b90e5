"""The metrics of one application or one worker, as Prometheus reads them."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context
from functools import partial
from time import monotonic, perf_counter
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.openmetrics import exposition as openmetrics_exposition

from service.errors import Unavailable
from service.observability.histogram import Histogram, Labels

QUERY_INTERVAL: Final = 5.0  # seconds between two runs of a query, at least, where nothing is said
# How long a scrape waits for its queries, and how long while the last run of one took longer than
# that: so a silent database holds up one scrape, and not each. In seconds.
PATIENCE: Final = 1.0
SHORT_PATIENCE: Final = 0.05

# A `_created` series beside each counter would nearly double what is scraped.
disable_created_metrics()  # type: ignore[no-untyped-call]

Write = Callable[[CollectorRegistry], bytes]
_write_text: Final[Write] = generate_latest
# No name has characters to be escaped, and looking for them takes half of the time.
_write_openmetrics: Final[Write] = partial(
    openmetrics_exposition.generate_latest, escaping=openmetrics_exposition.ALLOWUTF8
)

Query = Callable[[], Awaitable[Mapping[Labels, float]]]
# For each gauge of several: its values by label values.
ManyQuery = Callable[[], Awaitable[Sequence[Mapping[Labels, float]]]]


class Metrics:
    """The counters, gauges and histograms of one application or worker, with their registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._samplers: list[Callable[[], None]] = []
        self._queries: list[_GaugeQuery] = []
        self._histograms: list[Histogram] = []
        self._failures = self._counter(
            "metrics_query_failures", "Scrapes for which the database did not answer."
        )
        ProcessCollector(registry=self.registry)

    def add_info(self, name: str, documentation: str, values: Mapping[str, str]) -> None:
        """Add a gauge that is 1, with labels that say what does not change."""
        self._gauge(name, documentation, tuple(values)).labels(*values.values()).set(1)

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

    def add_histogram(
        self, name: str, documentation: str, labels: Sequence[str], buckets: Sequence[float]
    ) -> Histogram:
        """Add a histogram, whose series are made by its `series`; `buckets` are upper bounds."""
        histogram = Histogram(name, documentation, labels, buckets)
        self.register(histogram)
        return histogram

    def register(self, histogram: Histogram) -> None:
        """Add a histogram that was made elsewhere."""
        self._histograms.append(histogram)

    def add_query_gauge(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        query: Query,
        *,
        interval: float = QUERY_INTERVAL,
        missing: float | None = 0,
    ) -> None:
        """Add a gauge whose values by label values a query returns, at most once in an interval.

        `missing` is the value of labels that are no longer among them; None removes their series. A
        query that raises Unavailable, or that the scrape waits for in vain, makes the scrape count
        as failed, and the gauge keeps its values until a run has ended.
        """

        async def query_one() -> Sequence[Mapping[Labels, float]]:
            return [await query()]

        self.add_query_gauges(
            {name: documentation}, labels, query_one, interval=interval, missing=missing
        )

    def add_query_gauges(
        self,
        documentations: Mapping[str, str],
        labels: Sequence[str],
        query: ManyQuery,
        *,
        interval: float = QUERY_INTERVAL,
        missing: float | None = 0,
    ) -> None:
        """Add gauges whose values one query returns, in their order."""
        gauges = [
            _QueryGauge(self._gauge(name, text, labels), missing)
            for name, text in documentations.items()
        ]
        self._queries.append(_GaugeQuery(gauges, query, interval))

    async def render(self, *, openmetrics: bool = False) -> bytes:
        """Return all metrics in Prometheus' text format, or in OpenMetrics' with exemplars."""
        for sample in self._samplers:
            sample()
        is_prompt = all(query.is_prompt for query in self._queries)
        patience = PATIENCE if is_prompt else SHORT_PATIENCE
        # At the same time, so that a silent database is waited for once.
        answered = await asyncio.gather(*(query.refresh(patience) for query in self._queries))
        if not all(answered):
            self._failures.inc()
        return await asyncio.to_thread(self._write, openmetrics)

    async def close(self) -> None:
        """End the queries that no scrape waits for any more."""
        await asyncio.gather(*(query.close() for query in self._queries))

    def _write(self, openmetrics: bool) -> bytes:
        own = "".join(histogram.text(exemplars=openmetrics) for histogram in self._histograms)
        write = _write_openmetrics if openmetrics else _write_text
        return own.encode() + write(self.registry)  # which ends with OpenMetrics' mark of the end

    def _gauge(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(name, documentation, labels, registry=self.registry)

    def _counter(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(name, documentation, labels, registry=self.registry)


class _QueryGauge:
    """A gauge whose values a query returns."""

    def __init__(self, gauge: Gauge, missing: float | None) -> None:
        self._gauge = gauge
        self._missing = missing
        self._known: set[Labels] = set()

    def set(self, values: Mapping[Labels, float]) -> None:
        """Set the values by label values."""
        for labels in self._known - values.keys():
            if self._missing is None:
                self._gauge.remove(*labels)
            else:
                self._child(labels).set(self._missing)
        for labels, value in values.items():
            self._child(labels).set(value)
        self._known = set(values) if self._missing is None else self._known | values.keys()

    def _child(self, labels: Labels) -> Gauge:
        return self._gauge.labels(*labels) if labels else self._gauge


class _GaugeQuery:
    """A query, and the gauges whose values it returns; it runs once at a time, in a task."""

    def __init__(self, gauges: Sequence[_QueryGauge], query: ManyQuery, interval: float) -> None:
        self._gauges = gauges
        self._query = query
        self._interval = interval
        self._run: asyncio.Task[bool] | None = None
        self.is_prompt = True
        self._due = -math.inf

    async def refresh(self, patience: float) -> bool:
        """Run the query if its last result is older than the interval; False when that fails.

        Also False when it takes too long: then it goes on, and a later scrape shows its result.
        """
        if self._run is None or self._run.done():
            if monotonic() < self._due:
                return True
            # One that fails is tried again sooner than one that was answered.
            self._due = monotonic() + min(self._interval, QUERY_INTERVAL)
            # In a context of its own, because it would keep the variables of the scrape's request.
            self._run = asyncio.get_running_loop().create_task(
                self._set_gauges(), context=Context()
            )
        run = self._run
        # Waited for but not awaited: the end of a scrape does not end the run.
        done, _ = await asyncio.wait({run}, timeout=patience)
        if not done:
            self.is_prompt = False
            return False
        return run.result()

    async def close(self) -> None:
        """End the run, if there is one."""
        if self._run is not None and self._run.cancel():
            await asyncio.wait({self._run})

    async def _set_gauges(self) -> bool:
        started = perf_counter()
        try:
            answers = await self._query()
        except Unavailable:
            return False
        finally:
            self.is_prompt = perf_counter() - started < PATIENCE
        self._due = monotonic() + self._interval
        for gauge, values in zip(self._gauges, answers, strict=True):
            gauge.set(values)
        return True
