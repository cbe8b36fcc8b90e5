"""What is asked of every peer: the requests of each scenario, ready as bytes."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from random import Random
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

PASSWORD = "correct horse battery staple"
ACCOUNTS = 20
TOKENS = 200
LOGINS_AT_ONCE = 8
DEEP_PAGE = 2000


@dataclass
class Target:
    """A peer that runs: where it listens, what it holds, and the accounts made on it."""

    name: str
    ports: list[int]
    post_ids: list[str]
    accounts: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.turns = cycle(self.ports)

    def call(self, method: str, path: str, body: object = None, port: int | None = None) -> Any:
        """The answer's JSON. Raises urllib.error.URLError: HTTPError, closed, for any failure."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(
            f"http://127.0.0.1:{port or next(self.turns)}{path}",
            data,
            {"Content-Type": "application/json"} if data else {},
            method=method,
        )
        try:
            with urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except HTTPError as error:
            with error:
                raise

    def credentials(self) -> list[dict[str, str]]:
        """Accounts of the peer's own kind of password hash, registered at the first call."""
        if not self.accounts:
            for number in range(ACCOUNTS):
                name = f"{self.name}-{number:02}"
                email = f"{name}@example.com"
                account = {"username": name, "email": email, "password": PASSWORD}
                self.call("POST", "/auth/register", account)
                self.accounts.append(email)
        return [{"email": email, "password": PASSWORD} for email in self.accounts]

    def access_tokens(self) -> list[str]:
        """Different access tokens, each of a login of its own, made at the first call."""
        if not self.tokens:
            logins = self.credentials() * (TOKENS // ACCOUNTS)
            with ThreadPoolExecutor(LOGINS_AT_ONCE) as pool:
                answers = pool.map(partial(self.call, "POST", "/auth/login"), logins)
                self.tokens = [answer["access_token"] for answer in answers]
        return self.tokens


def http(method: str, path: str, *, token: str = "", body: object = None) -> bytes:
    """One HTTP/1.1 request."""
    data = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: application/json"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    return "\r\n".join([*lines, "", ""]).encode() + data


def one_post(target: Target) -> list[bytes]:
    return [http("GET", f"/api/posts/{post_id}") for post_id in target.post_ids]


def first_page(_: Target) -> list[bytes]:
    return [http("GET", "/api/posts?page=1&per_page=20")]


def deep_page(_: Target) -> list[bytes]:
    return [http("GET", f"/api/posts?page={DEEP_PAGE}&per_page=20")]


def deep_cursor(target: Target) -> list[bytes]:
    cursor = target.call("GET", f"/api/posts?page={DEEP_PAGE}&per_page=20")["next_cursor"]
    return [http("GET", f"/api/posts?cursor={quote(cursor, safe='')}&per_page=20")]


def me(target: Target) -> list[bytes]:
    return [http("GET", "/auth/me", token=token) for token in target.access_tokens()]


def create(target: Target) -> list[bytes]:
    random = Random(1)
    words = [f"word{random.randrange(10_000)}" for _ in range(1000)]

    def post() -> dict[str, str]:
        return {"title": "Created by the benchmark", "content": " ".join(random.sample(words, 60))}

    return [
        http("POST", "/api/posts", token=token, body=post()) for token in target.access_tokens()
    ]


def login(target: Target) -> list[bytes]:
    return [http("POST", "/auth/login", body=login) for login in target.credentials()]


@dataclass(frozen=True)
class Scenario:
    """One kind of request; peers without the service's own routes are measured by `instead`."""

    name: str
    title: str
    make: Callable[[Target], list[bytes]]
    status: int = 200
    connections: int | None = None  # None: the run's option
    instead: str | None = None

    async def requests(self, target: Target) -> list[bytes]:
        return await asyncio.to_thread(self.make, target)


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("post", "one post", one_post),
        Scenario("list", "list, first page", first_page),
        Scenario("deep", f"list, page {DEEP_PAGE:,}", deep_page),
        Scenario("cursor", f"list, cursor after page {DEEP_PAGE:,}", deep_cursor, instead="deep"),
        Scenario("me", f"/auth/me, {TOKENS} tokens", me),
        Scenario("create", "create a post", create, status=201),
        # Hashing keeps every core busy: more connections would only wait for longer.
        Scenario("login", "login, 16 connections", login, connections=16),
        Scenario("crowd", "one post, 512 connections", one_post, connections=512),
    )
}
DEFAULT = ("post", "list", "deep", "cursor", "me", "create", "login", "crowd")
