"""How many Python functions a request calls: for test_calls.py, in a process of its own.

    python -m tests.support.call_counter

prints JSON, counted on the database that the environment names.
"""

import asyncio
import json
import statistics
import sys
from collections.abc import Coroutine
from types import FrameType
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from service.asgi import app
from tests.support.asgi import http_scope

REQUESTS = 21  # the median counts: now and then another task runs meanwhile
POST = {"title": "A title", "content": "Words of a post. " * 20}


class Client:
    """Asks the application without a server."""

    def __init__(self) -> None:
        self.headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        self.calls = 0

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON."""
        start, end = await self.send(method, path, body)
        assert start["status"] < 300, start
        return json.loads(end["body"])

    async def send(self, method: str, path: str, body: object) -> list[Any]:
        """The messages that answer."""
        sent: list[Any] = []
        data = b"" if body is None else json.dumps(body).encode()
        messages = [{"type": "http.request", "body": data, "more_body": False}]

        async def receive() -> Any:
            return messages.pop() if messages else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        await app(http_scope(method, path, self.headers), receive, send)
        return sent

    async def cost(self, method: str, path: str, body: object = None, at_once: int = 1) -> int:
        """The calls of one such request, of so many at once."""
        counts = []
        for _ in range(REQUESTS):
            await self._counted(*(self.send(method, path, body) for _ in range(at_once)))
            counts.append(self.calls)
        return round(statistics.median(counts) / at_once)

    async def refresh_cost(self, token: str) -> int:
        """The calls of one refresh, of many in a row from this refresh token on."""
        counts = []
        for _ in range(REQUESTS):
            self.headers[-1] = (b"authorization", f"Bearer {token}".encode())
            [(_, end)] = await self._counted(self.send("POST", "/auth/refresh", None))
            token = json.loads(end["body"])["refresh_token"]
            counts.append(self.calls)
        return round(statistics.median(counts))

    async def _counted(self, *asking: Coroutine[Any, Any, list[Any]]) -> list[list[Any]]:
        self.calls = 0
        sys.setprofile(self._count)
        try:
            return await asyncio.gather(*asking)
        finally:
            sys.setprofile(None)

    def _count(self, _frame: FrameType, event: str, _argument: object) -> None:
        self.calls += event == "call"


async def main() -> dict[str, int]:
    """The cost of each route's request."""
    client = Client()
    account = {"email": f"{uuid4().hex}@example.com", "password": "a long and good password"}
    await client.ask("POST", "/auth/register", {**account, "username": uuid4().hex[:20]})
    tokens = await client.ask("POST", "/auth/login", account)
    client.headers.append((b"authorization", f"Bearer {tokens['access_token']}".encode()))
    post = await client.ask("POST", "/api/posts", POST)
    return {
        "create": await client.cost("POST", "/api/posts", POST),
        "me": await client.cost("GET", "/auth/me"),
        "post": await client.cost("GET", f"/api/posts/{post['id']}"),
        "post, 32 at once": await client.cost("GET", f"/api/posts/{post['id']}", at_once=32),
        "list": await client.cost("GET", "/api/posts"),
        "list, 32 at once": await client.cost("GET", "/api/posts", at_once=32),
        "login": await client.cost("POST", "/auth/login", account),
        "refresh": await client.refresh_cost(tokens["refresh_token"]),
        "me by key": await _cost_by_key(client, tokens["access_token"]),
    }


async def _cost_by_key(client: Client, token: str) -> int:
    """The calls of one request by an API key."""
    client.headers[-1] = (b"authorization", f"Bearer {token}".encode())
    async with app.database.transaction() as session:
        await session.execute(text("UPDATE users SET email_verified_at = now()"))
    new = {"name": "a program", "scopes": ["account:read"]}
    key = (await client.ask("POST", "/auth/keys", new))["key"]
    client.headers[-1] = (b"authorization", f"Bearer {key}".encode())
    return await client.cost("GET", "/auth/me")


async def serve() -> None:
    """The application's start, its requests, its end."""
    async with app.test_app():
        print(json.dumps(await main()))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(serve())
