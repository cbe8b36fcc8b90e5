"""Limits: how often a caller may ask, by the names of the contract.

Each route says which limit counts it, or that none does. A named limit is one counter for all
its routes; DEFAULT counts every path and method by itself. A signed-in caller is counted by
user, others by address. Counters live in this process, or with REDIS_URL in a shared server,
which counts atomically; while that is down, requests pass.
"""

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import structlog
from limits import RateLimitItem, parse_many
from limits.aio.storage import SlidingWindowCounterSupport
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from limits.storage import storage_from_string
from quart import Quart, Response

from service.errors import TooManyRequests
from service.settings import Settings
from service.web.exchange import exchange
from service.web.openapi.declarations import LIMIT_ATTRIBUTE
from service.web.proxy import client_network
from service.web.ratelimit_storage import BoundedMemoryStorage

log: Final = structlog.get_logger(__name__)

# Seconds for which a server that did not answer is left alone, so that requests do not wait.
PAUSE: Final = 1.0
DEFAULT: Final = "DEFAULT"
UNLIMITED: Final = ""
# These are asked before anybody is known, or to become known: always by address.
BY_ADDRESS: Final = frozenset({"REGISTER", "LOGIN", "REFRESH"})
NAMES: Final = (
    "READ", "CREATE", "WRITE", "STREAM", "REGISTER", "LOGIN", "LOGIN_ACCOUNT", "REFRESH",
    "MAIL", "ADMIN", DEFAULT,
)  # fmt: skip

Route = TypeVar("Route", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a limit says of a hit: `reset` is the time in seconds until there is room again."""

    allowed: bool
    limit: int
    remaining: int
    reset: int


def limit(name: str) -> Callable[[Route], Route]:
    """Count a route by a limit."""
    if name not in NAMES:
        raise ValueError(f"there is no limit {name}")

    def decorate(route: Route) -> Route:
        setattr(route, LIMIT_ATTRIBUTE, name)
        return route

    return decorate


def unlimited(route: Route) -> Route:
    """Let a route be asked without limit."""
    setattr(route, LIMIT_ATTRIBUTE, UNLIMITED)
    return route


class Limiter:
    """Counts hits."""

    def __init__(self, settings: Settings) -> None:
        self._items: dict[str, list[RateLimitItem]] = {}
        if settings.ratelimit_enabled:
            self._items = {
                name: parse_many(text)
                for name in NAMES
                if (text := getattr(settings, f"ratelimit_{name.lower()}"))
            }
        self._own = SlidingWindowCounterRateLimiter(BoundedMemoryStorage())
        self._shared = _shared_limiter(settings)
        self._down = False
        self._ask_again_at = 0.0
        self.failures = 0
        self.refused = Counter(dict.fromkeys(self._items, 0))

    def counts(self, name: str) -> bool:
        """Whether a limit is on."""
        return name in self._items

    async def hit(
        self, name: str, key: str, *, cost: int = 1, strict: bool = False
    ) -> Verdict | None:
        """Count a hit; None when nothing limits it. A negative cost takes hits back.

        While the shared server is down a hit passes; a strict one is counted in this process.
        """
        items = self._items.get(name)
        if not items:
            return None
        verdict = await self._hit_shared(items, name, key, cost)
        if verdict is None and (strict or self._shared is None):
            verdict = await _hit(self._own, items, name, key, cost)
        if verdict is not None and not verdict.allowed:
            self.refused[name] += 1
        return verdict

    async def _hit_shared(
        self, items: list[RateLimitItem], name: str, key: str, cost: int
    ) -> Verdict | None:
        if self._shared is None:
            return None
        if time.monotonic() < self._ask_again_at:
            self.failures += 1
            return None
        try:
            verdict = await _hit(self._shared, items, name, key, cost)
        except StorageError:
            self._note_failure()
            return None
        self._note_success()
        return verdict

    def _note_failure(self) -> None:
        self.failures += 1
        self._ask_again_at = time.monotonic() + PAUSE
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
) -> Verdict:
    verdicts = [await _hit_one(limiter, item, name, key, cost) for item in items]
    # The one that has least room is what the caller must know of.
    return min(verdicts, key=_room)


def _room(verdict: Verdict) -> tuple[bool, int]:
    return verdict.allowed, verdict.remaining


async def _hit_one(
    limiter: SlidingWindowCounterRateLimiter, item: RateLimitItem, name: str, key: str, cost: int
) -> Verdict:
    allowed = await limiter.hit(item, name, key, cost=cost)
    expiry = item.get_expiry()
    storage = cast("SlidingWindowCounterSupport", limiter.storage)
    window = await storage.get_sliding_window(item.key_for(name, key), expiry)
    return Verdict(allowed, item.amount, *_remaining_and_reset(item.amount, expiry, *window))


def _remaining_and_reset(
    limit: int, expiry: int, previous: int, previous_left: float, current: int, current_left: float
) -> tuple[int, int]:
    # As the library's get_window_stats, which takes a window that began in this millisecond for
    # one that ends now.
    remaining = limit - math.floor(previous * previous_left / expiry + current)
    reset = current_left - expiry
    if previous:
        reset = min(reset, previous_left % (expiry / previous))
    return max(0, remaining), max(1, math.ceil(reset))


def limiter() -> Limiter:
    """The application's limiter."""
    found: Limiter = exchange().extensions["limiter"]
    return found


async def enforce(name: str, key: str, *, strict: bool = False) -> None:
    """Count a hit of a limit. Raises TooManyRequests."""
    verdict = await limiter().hit(name, key, strict=strict)
    if verdict is None:
        return
    present = exchange()
    present.verdict = min(present.verdict or verdict, verdict, key=_room)
    if not verdict.allowed:
        raise TooManyRequests(retry_after=verdict.reset)


async def within(name: str, key: str) -> bool:
    """Count a hit of a limit that nobody is told of, and say whether there was room."""
    verdict = await limiter().hit(name, key)
    return verdict is None or verdict.allowed


async def take_back(name: str, key: str, *, strict: bool = False) -> None:
    """Take a hit back that was none, after all."""
    await limiter().hit(name, key, cost=-1, strict=strict)


def init_app(app: Quart, limits: Limiter, user_key: Callable[[], str | None]) -> None:
    """Limit every route; `user_key` names the signed-in caller, without asking the database."""
    app.extensions["limiter"] = limits

    async def count() -> None:
        rule = exchange().request.url_rule
        if rule is None or exchange().method == "OPTIONS":
            return
        route = app.view_functions[rule.endpoint]
        name: str = getattr(route, LIMIT_ATTRIBUTE, DEFAULT)
        if not limits.counts(name):
            return
        caller = None if name in BY_ADDRESS else user_key()
        key = caller or client_network()
        if name == DEFAULT:
            key = f"{exchange().method} {rule.rule} {key}"
        await enforce(name, key, strict=name == "LOGIN")

    async def tell(response: Response) -> Response:
        verdict = exchange().verdict
        if verdict is not None:
            response.headers["RateLimit-Limit"] = str(verdict.limit)
            response.headers["RateLimit-Remaining"] = str(verdict.remaining)
            response.headers["RateLimit-Reset"] = str(verdict.reset)
        return response

    app.before_request(count)
    app.after_request(tell)
