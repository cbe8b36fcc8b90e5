"""This process's counters of limits."""

import pytest

from service.testing.clock import Clock
from service.web.limiter_storage import BoundedMemoryStorage


async def test_the_memory_of_this_process_s_counters_is_bounded() -> None:
    storage = BoundedMemoryStorage(max_keys=1000)
    for number in range(5000):
        assert await storage.acquire_sliding_window_entry(f"caller {number}", 5, 60)
    assert len(storage) == 1000
    assert await storage.reset() == 1000


async def hits(storage: BoundedMemoryStorage) -> int:
    """How many of ten pass a limit of six a minute."""
    return sum([await storage.acquire_sliding_window_entry("k", 6, 60) for _ in range(10)])


async def test_limit_s_window_slides(clock: Clock) -> None:
    storage = BoundedMemoryStorage()
    assert await hits(storage) == 6
    clock.advance(75)  # three quarters of the six still count: four, rounded down
    assert await hits(storage) == 2
    clock.advance(100)
    assert await hits(storage) == 6


async def test_limit_s_window_begins_with_the_first_hit(clock: Clock) -> None:
    storage = BoundedMemoryStorage()
    clock.advance(59.9 - clock.now().timestamp() % 60)
    assert await hits(storage) == 6
    clock.advance(0.2)  # the clock's next minute
    assert await hits(storage) == 0
    _, _, count, left = await storage.get_sliding_window("k", 60)
    assert count == 6
    assert left == pytest.approx(119.8, abs=0.1)


async def test_clock_set_back_locks_no_caller_out(clock: Clock) -> None:
    storage = BoundedMemoryStorage()
    assert await hits(storage) == 6
    clock.advance(-3600)
    assert await hits(storage) == 6
    clock.advance(1)
    assert await hits(storage) == 0


async def test_limit_storage_counts_reads_and_clears_a_key(clock: Clock) -> None:
    storage = BoundedMemoryStorage()
    assert await storage.check()
    assert await storage.get("k") == 0
    before = await storage.get_expiry("k")
    assert await storage.incr("k", 60, 3) == 3
    assert await storage.get("k") == 3
    assert before <= await storage.get_expiry("k") <= clock.now().timestamp()
    await storage.clear_sliding_window("k", 60)
    assert await storage.get("k") == 0
