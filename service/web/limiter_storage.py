"""The storage of rate limits in this process, in bounded memory.

The memory storage of `limits` starts a sweep over all its keys with each hit, and grows with the
number of callers; this one evicts the least recently seen. As in a shared server, a window begins
with a caller's first hit, because windows by the clock would reset for all callers at once.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from limits.aio.storage import SlidingWindowCounterSupport, Storage

from service import clock

MAX_KEYS: Final = 100_000  # about 30 MB


@dataclass(slots=True)
class _Window:
    start: float
    current: int = 0
    previous: int = 0


def _now() -> float:
    return clock.now().timestamp()


class BoundedMemoryStorage(Storage, SlidingWindowCounterSupport):
    """Sliding window counters of the callers seen last.

    No method awaits anything, so that every call is atomic on one event loop.
    """

    STORAGE_SCHEME = ["async+bounded-memory"]  # noqa: RUF012  # as limits declares it

    def __init__(self, uri: str | None = None, max_keys: int = MAX_KEYS) -> None:
        super().__init__(uri)
        self._max_keys = max_keys
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    async def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        """Count `amount`, which may be negative, if the limit allows; return whether it does."""
        now = _now()
        window = self._roll(key, expiry, now)
        share = 1 - (now - window.start) / expiry
        if amount > 0 and int(window.previous * share) + window.current + amount > limit:
            return False
        window.current = max(0, window.current + amount)
        return True

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return the count and the seconds left of the previous and of the current window."""
        now = _now()
        window = self._roll(key, expiry, now)
        left = window.start + expiry - now
        return window.previous, left if window.previous else 0.0, window.current, left + expiry

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Remove a key."""
        await self.clear(key)

    def _roll(self, key: str, expiry: int, now: float) -> _Window:
        window = self._windows.get(key)
        # A hit counts for two windows at most. A clock that was set back also starts a new window.
        if window is None or not 0 <= now - window.start < 2 * expiry:
            window = self._windows[key] = _Window(now)
            if len(self._windows) > self._max_keys:
                self._windows.popitem(last=False)
        elif now - window.start >= expiry:
            window.start += expiry
            window.previous, window.current = window.current, 0
        self._windows.move_to_end(key)
        return window

    @property
    def base_exceptions(self) -> type[Exception]:
        """The exceptions to wrap, of which this storage raises none."""
        return ValueError

    async def check(self) -> bool:
        """Whether the storage works."""
        return True

    async def reset(self) -> int | None:
        """Remove all keys and return their number."""
        count = len(self._windows)
        self._windows.clear()
        return count

    async def clear(self, key: str) -> None:
        """Remove a key."""
        self._windows.pop(key, None)

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count `amount` without a limit and return the current window's count."""
        window = self._roll(key, expiry, _now())
        window.current += amount
        return window.current

    async def get(self, key: str) -> int:
        """Return the current window's count."""
        window = self._windows.get(key)
        return window.current if window else 0

    async def get_expiry(self, key: str) -> float:
        """Return the start of the current window, in seconds since the epoch."""
        window = self._windows.get(key)
        return window.start if window else _now()
