"""Rate limits of routes.

Each route declares its limit, or none. A named limit has one counter per caller for all its routes,
DEFAULT one for every method and route. Authenticated callers are counted by user, others by
address. The counters are in this process, or with REDIS_URL in a shared server, which counts
atomically; while that is down, requests are not limited.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from quart import Response

from service.errors import TooManyRequests
from service.web.client import client_network
from service.web.limiter import DEFAULT, NAMES, least_room
from service.web.openapi.declarations import LIMIT_ATTRIBUTE
from service.web.request_state import request_state
from service.web.server.application import Service

UNLIMITED: Final = ""
# Limits of routes that authenticate the caller, and therefore count by address.
BY_ADDRESS: Final = frozenset({"REGISTER", "LOGIN", "REFRESH", "SECOND_FACTOR", "BEGIN", "REVOKE"})

Route = TypeVar("Route", bound=Callable[..., object])


def limit(name: str) -> Callable[[Route], Route]:
    """Declare the limit of a route. Raises ValueError for an unknown name."""
    if name not in NAMES:
        raise ValueError(f"there is no limit {name}")

    def decorate(route: Route) -> Route:
        setattr(route, LIMIT_ATTRIBUTE, name)
        return route

    return decorate


def unlimited(route: Route) -> Route:
    """Declare that a route has no limit."""
    setattr(route, LIMIT_ATTRIBUTE, UNLIMITED)
    return route


async def enforce(name: str, key: str, *, strict: bool = False) -> None:
    """Count a hit of a limit, shown in the response's headers. Raises TooManyRequests."""
    result = await request_state().app.limiter.hit(name, key, strict=strict)
    if result is None:
        return
    state = request_state()
    state.limit_result = min(state.limit_result or result, result, key=least_room)
    if not result.allowed:
        raise TooManyRequests(retry_after=result.reset)


async def try_hit(name: str, key: str) -> bool:
    """Count a hit that the response's headers do not show, and return whether it is allowed."""
    result = await request_state().app.limiter.hit(name, key)
    return result is None or result.allowed


async def refund(name: str, key: str, *, strict: bool = False) -> None:
    """Take a hit back that should not have counted."""
    await request_state().app.limiter.hit(name, key, cost=-1, strict=strict)


def init_app(app: Service, user_key: Callable[[Callable[..., object]], str | None]) -> None:
    """Limit every route.

    `user_key` returns the key that an authenticated caller is counted by on a route, without a
    query; None counts by address.
    """
    app.limiter.register_metrics(app.metrics)

    async def count_request() -> None:
        state = request_state()
        rule = state.request.url_rule
        if rule is None or state.method == "OPTIONS":
            return
        route = app.view_functions[rule.endpoint]
        name: str = getattr(route, LIMIT_ATTRIBUTE, DEFAULT)
        if not app.limiter.is_on(name):
            return
        key = (None if name in BY_ADDRESS else user_key(route)) or client_network()
        if name == DEFAULT:
            key = f"{state.method} {rule.rule} {key}"
        await enforce(name, key, strict=name == "LOGIN")
        # Not before: who guesses is counted, too.
        if state.identify is not None:
            await state.identify()

    async def add_headers(response: Response) -> Response:
        result = request_state().limit_result
        if result is not None:
            response.headers["RateLimit-Limit"] = str(result.limit)
            response.headers["RateLimit-Remaining"] = str(result.remaining)
            response.headers["RateLimit-Reset"] = str(result.reset)
        return response

    app.before_request(count_request)
    app.after_request(add_headers)
