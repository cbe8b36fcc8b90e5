"""The metrics of requests.

Every label has few values: routes are templates, methods and statuses come from fixed sets.
"""

from typing import Final

from service.observability.histogram import Series
from service.observability.metrics import Metrics

# In seconds: a cached response takes 0.001, hashing a password some 0.05, a statement at most 15.
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)
_LABELS: Final = ("method", "route", "status")


class RequestMetrics:
    """How many requests there were and are, and how long they took."""

    def __init__(self, metrics: Metrics) -> None:
        self.in_flight = 0
        self._series: dict[tuple[str, str, int], Series] = {}
        self._durations = metrics.add_histogram(
            "http_request_duration_seconds",
            "From a request to the end of its answer.",
            _LABELS,
            BUCKETS,
        )
        metrics.add_counter(
            "http_requests", "Requests that have ended.", _LABELS, self._durations.totals
        )
        metrics.add_gauge(
            "http_requests_in_flight", "Requests that have not ended.", lambda: self.in_flight
        )

    def finish(
        self, method: str, route: str, status: int, seconds: float, trace_id: str | None
    ) -> None:
        """Count a request as finished, answered or aborted, after this many seconds.

        Its trace, if it has one that is exported, may be shown as an example of them.
        """
        self.in_flight -= 1
        series = self._series.get((method, route, status))
        if series is None:
            series = self._durations.series(method, route, str(status))
            self._series[method, route, status] = series
        series.observe(seconds, trace_id)
