"""Histograms that take no lock, as Prometheus reads them.

A garbage collection may begin while the library's own histograms hold their locks, and its callback
would wait for them for ever. One observation also costs a tenth as much here, and a scrape of many
series a fifth.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client import utils

_number: Final[Callable[[float], str]] = utils.floatToGoString

Labels = tuple[str, ...]
# A trace's id, the value that it had, and when.
Exemplar = tuple[str, float, float]


class Series:
    """The values with the same labels: how many there are by upper bound, and their sum.

    For one thread at a time; one that scrapes meanwhile may miss the last value.
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
        """Count a value, and keep its trace, if there is one, as the exemplar of its bucket."""
        bucket = bisect_left(self._bounds, value)
        self.counts[bucket] += 1
        self.sum += value
        if trace_id is not None:
            self.exemplars[bucket] = (trace_id, value, time.time())


class Histogram:
    """One metric with its series, by the values of its labels; `buckets` are upper bounds."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], buckets: Sequence[float]
    ) -> None:
        self.name: Final = name
        self._head: Final = f"# HELP {name} {documentation}\n# TYPE {name} histogram\n"
        self._labels: Final = tuple(labels)
        self._bounds: Final = tuple(float(bound) for bound in buckets)
        self._bound_labels: Final = (*map(_number, self._bounds), "+Inf")
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

    def text(self, *, exemplars: bool) -> str:
        """Return the metric in Prometheus' text format, or in OpenMetrics' with its exemplars."""
        lines = [self._head]
        for labels, series in list(self._series.items()):  # more of them may come meanwhile
            lines += self._lines(labels, series, series.exemplars if exemplars else {})
        return "".join(lines)

    def _lines(
        self, values: Labels, series: Series, exemplars: dict[int, Exemplar]
    ) -> Iterator[str]:
        pairs = sorted(zip(self._labels, map(_escape, values), strict=True))
        before = "".join(f'{name}="{value}",' for name, value in pairs if name < "le")
        after = "".join(f',{name}="{value}"' for name, value in pairs if name > "le")
        bucket, total = f"{self.name}_bucket{{{before}le=", 0
        for number, count in enumerate(list(series.counts)):
            total += count
            exemplar = _written(exemplars[number]) if number in exemplars else ""
            bound = self._bound_labels[number]
            yield f'{bucket}"{bound}"{after}}} {_number(total)}{exemplar}\n'
        labels = ",".join(f'{name}="{value}"' for name, value in pairs)
        labels = labels and f"{{{labels}}}"
        yield f"{self.name}_count{labels} {_number(total)}\n"
        yield f"{self.name}_sum{labels} {_number(series.sum)}\n"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _written(exemplar: Exemplar) -> str:
    trace_id, value, moment = exemplar
    return f' # {{trace_id="{trace_id}"}} {_number(value)} {moment:.3f}'
