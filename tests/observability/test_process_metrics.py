"""What a process measures of itself."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.observability import process_metrics
from service.observability.metrics import Metrics
from service.observability.process_metrics import ProcessMetrics
from tests.support.polling import until
from tests.support.scrape import Scrape

LAG = "event_loop_lag_seconds"
PAUSES = "gc_pause_seconds"


@asynccontextmanager
async def measuring() -> AsyncIterator[Metrics]:
    metrics = Metrics()
    async with ProcessMetrics(metrics, "0042").running():
        yield metrics


async def sample(metrics: Metrics, name: str, **labels: str) -> float:
    return Scrape(await metrics.render()).value(name, **labels)


async def test_a_loop_that_was_held_up_is_seen_in_the_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_metrics, "INTERVAL", 0.01)
    async with measuring() as metrics:
        await asyncio.sleep(0)
        time.sleep(0.15)

        async def is_measured() -> bool:
            found = Scrape(await metrics.render())
            return found.value(f"{LAG}_count") > found.value(f"{LAG}_bucket", le="0.1")

        await until(is_measured)


async def test_timers_of_an_idle_loop_are_measured_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_metrics, "INTERVAL", 0.001)
    async with measuring() as metrics:

        async def several() -> bool:
            return await sample(metrics, f"{LAG}_count") >= 3

        await until(several)


async def test_garbage_collections_are_measured_by_generation() -> None:
    async with measuring() as metrics:
        before = await sample(metrics, f"{PAUSES}_count", generation="2")
        gc.collect()
        gc.collect()
        assert await sample(metrics, f"{PAUSES}_count", generation="2") >= before + 2
        assert 0 < await sample(metrics, f"{PAUSES}_sum", generation="2") < 30


async def test_nothing_is_measured_after_the_end() -> None:
    callbacks = list(gc.callbacks)
    async with measuring() as metrics:
        pass
    assert gc.callbacks == callbacks
    gc.collect()
    assert await sample(metrics, f"{PAUSES}_count", generation="2") == 0
    tick = process_metrics.INTERVAL * 2
    await asyncio.sleep(tick)
    assert await sample(metrics, f"{LAG}_count") == 0


async def test_build_info_names_the_newest_migration_of_the_code() -> None:
    async with measuring() as metrics:
        assert 'schema="0042"' in (await metrics.render()).decode()
