"""The metrics of one process, for Prometheus."""

import asyncio
import os
import platform
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from sqlalchemy.ext.asyncio import AsyncConnection

from service.db.database import Database
from service.errors import Unavailable
from service.web.request_state import RequestState

SAMPLE_INTERVAL: Final = 2.0  # seconds between a worker's samples for the others to tell
QUERY_INTERVAL: Final = 5.0  # seconds for which a query's answer is good enough
# Seconds. A cached answer takes a millisecond, hashing a password tens of them; 15 s is the
# longest statement.
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)

Labels = tuple[str, ...]
Query = Callable[[AsyncConnection], Awaitable[Mapping[Labels, float]]]


class Metrics:
    """The metrics of one application."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self.registry = CollectorRegistry()
        self._samples: list[Callable[[], None]] = []
        self._queries: list[_QueryGauge] = []
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        labels = ("method", "route", "status")
        self._requests = Counter(
            "http_requests", "Requests that have ended.", labels, registry=self.registry
        )
        self._durations = Histogram(
            "http_request_duration_seconds", "From a request to the end of its answer.", labels,
            buckets=BUCKETS, registry=self.registry,
        )  # fmt: skip
        self._in_flight = self._gauge("http_requests_in_flight", "Requests that have not ended.")
        self._failures = self._counter(
            "metrics_query_failures", "Queries for metrics that the database did not answer."
        )
        build = self._gauge(
            "service_build_info", "The version that runs.", ("version", "python"), "mostrecent"
        )
        build.labels(version("service"), platform.python_version()).set(1)
        self._observe_process()

    @property
    def shared(self) -> bool:
        """Whether several processes put their figures together."""
        return self._folder is not None

    def request_started(self) -> None:
        """Count a request as under way."""
        self._in_flight.inc()

    def request_finished(self, state: RequestState) -> None:
        """Count a request as answered, or given up."""
        self._in_flight.dec()
        key = (state.method, state.route, state.status)
        known = self._known.get(key)
        if known is None:
            known = (self._requests.labels(*key), self._durations.labels(*key))
            self._known[key] = known
        known[0].inc()
        known[1].observe(state.seconds)

    def add_gauge(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Tell a value of this process that goes up and down; summed over processes."""
        gauge = self._gauge(name, documentation)
        self._samples.append(lambda: gauge.set(read()))

    def add_counter(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        read: Callable[[], Mapping[Labels, float]],
    ) -> None:
        """Tell totals of this process that only grow, by label values; summed over processes."""
        counter = self._counter(name, documentation, labels)
        told: dict[Labels, float] = {}

        def sample() -> None:
            for values, total in read().items():
                (counter.labels(*values) if values else counter).inc(total - told.get(values, 0))
                told[values] = total

        self._samples.append(sample)

    def add_query_gauge(
        self, name: str, documentation: str, labels: Sequence[str], query: Query
    ) -> None:
        """Tell what a query finds, by label values; it is asked at most every few seconds."""
        gauge = self._gauge(name, documentation, labels, "mostrecent")
        self._queries.append(_QueryGauge(gauge, query))

    def sample(self) -> None:
        """Read what is watched."""
        for sample in self._samples:
            sample()

    async def render(self, database: Database) -> bytes:
        """Tell everything in Prometheus' text format."""
        self.sample()
        for query in self._queries:
            try:
                await query.refresh(database)
            except Unavailable:
                self._failures.inc()
        return await asyncio.to_thread(self._write)

    def _write(self) -> bytes:
        if self._folder is None:
            return generate_latest(self.registry)
        _bury_the_dead(self._folder)
        together = CollectorRegistry()
        MultiProcessCollector(together, str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def _gauge(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        mode: Any = "livesum",
    ) -> Gauge:
        return Gauge(name, documentation, labels, registry=self.registry, multiprocess_mode=mode)

    def _counter(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(name, documentation, labels, registry=self.registry)

    def _observe_process(self) -> None:
        if not self.shared:
            ProcessCollector(registry=self.registry)
            return
        # Of the other workers only what they wrote is known: theirs by the label `pid`.
        collector = ProcessCollector(registry=None)
        gauges: dict[str, Gauge] = {}

        def sample() -> None:
            for family in collector.collect():
                for found in family.samples:
                    if found.name not in gauges:
                        gauges[found.name] = self._gauge(
                            found.name, family.documentation, mode="liveall"
                        )
                    gauges[found.name].set(found.value)

        self._samples.append(sample)


class _QueryGauge:
    """A gauge whose values a query finds."""

    def __init__(self, gauge: Gauge, query: Query) -> None:
        self._gauge = gauge
        self._query = query
        self._lock = asyncio.Lock()
        self._asked_at = -QUERY_INTERVAL
        self._told: set[Labels] = set()

    async def refresh(self, database: Database) -> None:
        """Ask anew when the last answer is old. Raises Unavailable."""
        async with self._lock:
            if monotonic() - self._asked_at < QUERY_INTERVAL:
                return
            self._asked_at = monotonic()
            found = await database.probe(self._query)
            self._told |= found.keys()
            for labels in self._told:
                self._gauge.labels(*labels).set(found.get(labels, 0))


def _bury_the_dead(folder: Path) -> None:
    """Drop the gauges of workers that are gone; their counters stay part of the sums."""
    for pid in {int(path.stem.rpartition("_")[2]) for path in folder.glob("gauge_live*_*.db")}:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            # Another worker may be doing the same.
            with suppress(FileNotFoundError):
                mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
        except PermissionError:
            pass
