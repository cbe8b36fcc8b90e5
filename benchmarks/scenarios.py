"""What is asked of every peer."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import requests
from benchmarks.load import Generator, Requests
from benchmarks.requests import DEEP_PAGE
from benchmarks.stream import Audience
from benchmarks.target import TOKENS, Target

LISTENERS = 1000
MANY = 512


@dataclass(frozen=True)
class Scenario:
    """One kind of request. Those that are `own` are asked of the service alone.

    Peers without the service's own routes are measured by `instead` where that is given.
    """

    name: str
    title: str
    make: Callable[[Target], Requests]
    status: int = 200
    connections: int | None = None  # None: the run's option
    own: bool = False
    instead: str | None = None
    streams: bool = False  # its connections listen to events

    async def requests(self, target: Target) -> Requests:
        return await asyncio.to_thread(self.make, target)

    def load(self, target: Target, connections: int, made: Requests) -> Generator | Audience:
        """The clients, which connect when entered."""
        number = self.connections or connections
        if self.streams:
            return Audience(target, number)
        return Generator(target.ports, number, made, self.status)


def _nothing(_: Target) -> list[bytes]:
    return []


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("post", "one post", requests.one_post),
        Scenario("list", "list, first page", requests.first_page),
        Scenario("deep", f"list, page {DEEP_PAGE:,}", requests.deep_page),
        Scenario(
            "cursor",
            f"list, cursor after page {DEEP_PAGE:,}",
            requests.deep_cursor,
            own=True,
            instead="deep",
        ),
        Scenario("search", "search, one and two words", requests.search, own=True),
        Scenario("me", f"/auth/me, {TOKENS} tokens", requests.me),
        Scenario("create", "create a post", requests.create, status=201),
        Scenario("put", "change a post", requests.put),
        Scenario("refresh", "refresh a token", requests.refresh),
        # Hashing keeps every core busy: more connections would only wait for longer.
        Scenario("login", "login, 16 connections", requests.login, connections=16),
        Scenario("post512", f"one post, {MANY} connections", requests.one_post, connections=MANY),
        Scenario(
            "create512",
            f"create a post, {MANY} connections",
            requests.create,
            status=201,
            connections=MANY,
        ),
        Scenario(
            "stream",
            f"an event to each of {LISTENERS:,} clients",
            _nothing,
            connections=LISTENERS,
            own=True,
            streams=True,
        ),
    )
}
DEFAULT = tuple(SCENARIOS)
