"""Rate limits: counting hits, without HTTP."""

import math
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, cast

import structlog
from limits import RateLimitItem, parse_many
from limits.aio.storage import SlidingWindowCounterSupport
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from limits.storage import storage_from_string

from service.observability.metrics import Metrics
from service.settings import Settings
from service.web.limiter_storage import BoundedMemoryStorage

log: Final = structlog.get_logger(__name__)

# Seconds for which a server that did not answer is not asked again, so that requests do not wait.
RETRY_DELAY: Final = 1.0
DEFAULT: Final = "DEFAULT"
NAMES: Final = (
    "READ", "CREATE", "WRITE", "STREAM", "REGISTER", "LOGIN", "LOGIN_ACCOUNT", "REFRESH",
    "MAIL", "ADMIN", "SECOND_FACTOR", "BEGIN", "KEYS", "REVOKE", DEFAULT,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LimitResult:
    """The result of a hit: the limit, how many hits remain, and the seconds until one is free."""

    allowed: bool
    limit: int
    remaining: int
    reset: int


class Limiter:
    """The rate limits of one application, counted in this process or in the server of REDIS_URL."""

    def __init__(self, settings: Settings) -> None:
        names = NAMES if settings.ratelimit_enabled else ()
        texts = {name: getattr(settings, f"ratelimit_{name.lower()}") for name in names}
        self._items = {name: parse_many(text) for name, text in texts.items() if text}
        self._local = SlidingWindowCounterRateLimiter(BoundedMemoryStorage())
        self._shared = _shared_limiter(settings)
        self._down = False
        self._retry_at = 0.0
        self.failures = 0
        self.refused = Counter(dict.fromkeys(self._items, 0))

    def register_metrics(self, metrics: Metrics) -> None:
        """Add counters of refused requests and of hits that were not counted."""
        metrics.add_counter(
            "ratelimit_refused",
            "Requests that a limit refused.",
            ("limit",),
            lambda: {(name,): count for name, count in self.refused.items()},
        )
        metrics.add_counter(
            "ratelimit_failures",
            "Hits that the server of REDIS_URL did not count.",
            (),
            lambda: {(): self.failures},
        )

    def is_on(self, name: str) -> bool:
        """Whether a limit is configured."""
        return name in self._items

    async def hit(
        self, name: str, key: str, *, cost: int = 1, strict: bool = False
    ) -> LimitResult | None:
        """Count a hit and return the result, or None when no limit applies.

        A negative cost takes hits back. While the shared server is down, hits are not counted, but
        for strict ones, which are counted in this process.
        """
        items = self._items.get(name)
        if not items:
            return None
        result = await self._hit_shared(items, name, key, cost)
        if result is None and (strict or self._shared is None):
            result = await _hit(self._local, items, name, key, cost)
        if result is not None and not result.allowed:
            self.refused[name] += 1
        return result

    async def _hit_shared(
        self, items: list[RateLimitItem], name: str, key: str, cost: int
    ) -> LimitResult | None:
        if self._shared is None:
            return None
        if time.monotonic() < self._retry_at:
            self.failures += 1
            return None
        try:
            result = await _hit(self._shared, items, name, key, cost)
        except StorageError:
            self._note_failure()
            return None
        self._note_success()
        return result

    def _note_failure(self) -> None:
        self.failures += 1
        self._retry_at = time.monotonic() + RETRY_DELAY
        if not self._down:
            self._down = True
            log.warning("limits are not counted: the server of REDIS_URL does not answer")

    def _note_success(self) -> None:
        if self._down:
            self._down = False
            log.info("limits are counted again")


def _shared_limiter(settings: Settings) -> SlidingWindowCounterRateLimiter | None:
    if settings.redis_url is None:
        return None
    url = settings.redis_url.get_secret_value()
    storage: Any = storage_from_string(
        f"async+{url}", wrap_exceptions=True, implementation="valkey",
        socket_timeout=0.5, socket_connect_timeout=0.5,
    )  # fmt: skip
    return SlidingWindowCounterRateLimiter(storage)


async def _hit(
    limiter: SlidingWindowCounterRateLimiter,
    items: list[RateLimitItem],
    name: str,
    key: str,
    cost: int,
) -> LimitResult:
    storage = cast("SlidingWindowCounterSupport", limiter.storage)
    results = []
    for item in items:
        limit, expiry = item.amount, item.get_expiry()
        allowed = await limiter.hit(item, name, key, cost=cost)
        window = await storage.get_sliding_window(item.key_for(name, key), expiry)
        results.append(LimitResult(allowed, limit, *_remaining_and_reset(limit, expiry, *window)))
    return min(results, key=least_room)


def least_room(result: LimitResult) -> tuple[bool, int]:
    """Return the key by which the result with the least room, the caller's limit, sorts first."""
    return result.allowed, result.remaining


def _remaining_and_reset(
    limit: int, expiry: int, previous: int, previous_left: float, current: int, current_left: float
) -> tuple[int, int]:
    # The library's get_window_stats takes a window that began in this millisecond for one that ends
    # now.
    remaining = limit - math.floor(previous * previous_left / expiry + current)
    reset = current_left - expiry
    if previous:
        reset = min(reset, previous_left % (expiry / previous))
    return max(0, remaining), max(1, math.ceil(reset))
