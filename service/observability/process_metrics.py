"""What a process measures of itself: the lag of its event loop, and its garbage collections."""

import asyncio
import gc
import platform
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import Context
from importlib.metadata import version
from time import perf_counter
from typing import Final

from service.observability.histogram import Series
from service.observability.metrics import Metrics

# Seconds between two timers. What holds the loop up for less is met by some of them only.
INTERVAL: Final = 0.1
# In seconds: uvloop's timers are a millisecond late as it is.
LAG_BUCKETS: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
PAUSE_BUCKETS: Final = (0.0001, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class ProcessMetrics:
    """The metrics that every process has; `schema` is the newest migration of its code."""

    def __init__(self, metrics: Metrics, schema: str) -> None:
        metrics.add_info(
            "service_build_info",
            "The version that runs, and the newest migration that it brings.",
            {"version": version("service"), "python": platform.python_version(), "schema": schema},
        )
        lag = metrics.add_histogram(
            "event_loop_lag_seconds", "How late a timer of the event loop is.", (), LAG_BUCKETS
        )
        pauses = metrics.add_histogram(
            "gc_pause_seconds", "Garbage collections.", ("generation",), PAUSE_BUCKETS
        )
        self._lag = _LoopLag(lag.series())
        self._collections = _Collections(
            [pauses.series(str(generation)) for generation in range(len(gc.get_count()))]
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Measure while the block runs."""
        gc.callbacks.append(self._collections.note)
        self._lag.start()
        try:
            yield
        finally:
            self._lag.stop()
            gc.callbacks.remove(self._collections.note)


class _LoopLag:
    """Measures how late a timer is, again and again."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        # In a context of its own, because it would keep the caller's variables.
        self._timer = asyncio.get_running_loop().call_later(
            INTERVAL, self._fire, perf_counter() + INTERVAL, context=Context()
        )

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _fire(self, due: float) -> None:
        self._series.observe(max(0.0, perf_counter() - due))
        self.start()


class _Collections:
    """Measures garbage collections: in any thread, one at a time."""

    def __init__(self, series: list[Series]) -> None:
        self._series = series
        self._started = 0.0

    def note(self, phase: str, info: Mapping[str, int]) -> None:
        """Note that a collection starts or stops, as a callback of `gc`."""
        if phase == "start":
            self._started = perf_counter()
        elif self._started:  # it may have been under way when measuring began
            self._series[info["generation"]].observe(perf_counter() - self._started)
