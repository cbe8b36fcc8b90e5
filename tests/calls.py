"""How many Python functions a request calls: for test_calls.py, in a process of its own.

    python -m tests.calls

prints JSON, counted on the database that the environment names.
"""

import asyncio
import json
import statistics
import sys
from types import FrameType
from typing import Any
from uuid import uuid4

from service.asgi import app
from tests.asgi import http_scope

REQUESTS = 21  # the median counts: now and then another task runs meanwhile
POST = {"title": "A title", "content": "Words of a post. " * 20}


class Client:
    """Asks the application without a server."""

    def __init__(self) -> None:
        self.headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        self.calls = 0

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON; `calls` tells what it cost."""
        sent: list[Any] = []
        data = b"" if body is None else json.dumps(body).encode()
        messages = [{"type": "http.request", "body": data, "more_body": False}]

        async def receive() -> Any:
            return messages.pop() if messages else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = http_scope(method, path, self.headers)
        self.calls = 0
        sys.setprofile(self._count)
        try:
            await app(scope, receive, send)
        finally:
            sys.setprofile(None)
        assert sent[0]["status"] < 300, sent
        return json.loads(sent[1]["body"])

    async def cost(self, method: str, path: str, body: object = None) -> float:
        """The calls of one such request."""
        counts = []
        for _ in range(REQUESTS):
            await self.ask(method, path, body)
            counts.append(self.calls)
        return statistics.median(counts)

    def _count(self, _frame: FrameType, event: str, _argument: object) -> None:
        self.calls += event == "call"


async def main() -> dict[str, float]:
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
        "list": await client.cost("GET", "/api/posts"),
    }


async def serve() -> None:
    """The application's start, its requests, its end."""
    async with app.test_app():
        print(json.dumps(await main()))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(serve())
