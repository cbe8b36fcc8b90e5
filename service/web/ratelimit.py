"""Limits: how often a caller may ask, by the names of the contract.

Each route says which limit counts it, or that none does. A named limit is one counter for all
its routes; DEFAULT counts every path and method by itself. A signed-in caller is counted by
user, others by address. Counters live in this process, or with REDIS_URL in a shared server,
which counts atomically; while that is down, requests pass.
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
# These are asked before anybody is known, or to become known: always by address.
BY_ADDRESS: Final = frozenset({"REGISTER", "LOGIN", "REFRESH"})

Route = TypeVar("Route", bound=Callable[..., object])


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


async def enforce(name: str, key: str, *, strict: bool = False) -> None:
    """Count a hit of a limit. Raises TooManyRequests."""
    result = await request_state().app.limiter.hit(name, key, strict=strict)
    if result is None:
        return
    state = request_state()
    state.limit_result = min(state.limit_result or result, result, key=least_room)
    if not result.allowed:
        raise TooManyRequests(retry_after=result.reset)


async def try_hit(name: str, key: str) -> bool:
    """Count a hit of a limit that nobody is told of, and say whether there was room."""
    result = await request_state().app.limiter.hit(name, key)
    return result is None or result.allowed


async def refund(name: str, key: str, *, strict: bool = False) -> None:
    """Take a hit back that was none, after all."""
    await request_state().app.limiter.hit(name, key, cost=-1, strict=strict)


def init_app(app: Service, user_key: Callable[[], str | None]) -> None:
    """Limit every route; `user_key` names the signed-in caller, without asking the database."""
    app.limiter.register_metrics(app.metrics)

    async def count() -> None:
        rule = request_state().request.url_rule
        if rule is None or request_state().method == "OPTIONS":
            return
        route = app.view_functions[rule.endpoint]
        name: str = getattr(route, LIMIT_ATTRIBUTE, DEFAULT)
        if not app.limiter.counts(name):
            return
        caller = None if name in BY_ADDRESS else user_key()
        key = caller or client_network()
        if name == DEFAULT:
            key = f"{request_state().method} {rule.rule} {key}"
        await enforce(name, key, strict=name == "LOGIN")

    async def tell(response: Response) -> Response:
        result = request_state().limit_result
        if result is not None:
            response.headers["RateLimit-Limit"] = str(result.limit)
            response.headers["RateLimit-Remaining"] = str(result.remaining)
            response.headers["RateLimit-Reset"] = str(result.reset)
        return response

    app.before_request(count)
    app.after_request(tell)
