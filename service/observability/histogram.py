"""Histograms that take no lock, for Prometheus.

A garbage collection, which may begin while the library's own histograms hold their locks, can be
measured by these alone; and one observation costs a tenth as much.
"""

import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client.core import Exemplar, HistogramMetricFamily
from prometheus_client.registry import Collector

Labels = tuple[str, ...]


class Series:
    """The values with the same labels: how many there are by upper bound, and their sum.

    For one thread at a time; the one that reads meanwhile may miss the last value.
    """

    __slots__ = ("_bounds", "counts", "exemplars", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)  # the last of them is for what is above every bound
        self.sum = 0.0
        self.exemplars: dict[int, Exemplar] = {}

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(self.counts)

    def observe(self, value: float, trace_id: str | None = None) -> None:
        """Count a value, and keep the id of its trace as the exemplar of its bucket."""
        bucket = bisect_left(self._bounds, value)
        self.counts[bucket] += 1
        self.sum += value
        if trace_id is not None:
            self.exemplars[bucket] = Exemplar({"trace_id": trace_id}, value, time.time())


class Histogram(Collector):
    """One metric with its series, by the values of its labels."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], buckets: Sequence[float]
    ) -> None:
        self._described: Final = (name, documentation)
        self._labels: Final = tuple(labels)
        self._bounds: Final = tuple(float(bound) for bound in buckets)
        self._bound_labels: Final = (*map(repr, self._bounds), "+Inf")
        self._series: dict[Labels, Series] = {}

    def series(self, *labels: str) -> Series:
        """Return the series with these values of the labels, which is scraped from now on."""
        found = self._series.get(labels)
        if found is None:
            found = self._series[labels] = Series(self._bounds)
        return found

    def add(self, series: Series, *labels: str) -> None:
        """Scrape a series that was made elsewhere, with the same upper bounds."""
        self._series[labels] = series

    def totals(self) -> dict[Labels, float]:
        """Return how many values each series has."""
        return {labels: series.count for labels, series in self._series.items()}

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """Return the metric without its series."""
        return [HistogramMetricFamily(*self._described, labels=self._labels)]

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Return the metric, for the library."""
        [family] = self.describe()
        for labels, series in list(self._series.items()):  # more of them may come meanwhile
            family.add_metric(labels, self._buckets(series), series.sum)
        return [family]

    def _buckets(self, series: Series) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        totals = accumulate(list(series.counts))
        for number, (bound, total) in enumerate(zip(self._bound_labels, totals, strict=True)):
            exemplar = series.exemplars.get(number)
            buckets.append((bound, total, exemplar) if exemplar else (bound, total))
        return buckets
