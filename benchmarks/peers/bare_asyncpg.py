"""The least that reads a post: one select by id on a pool of asyncpg, written out as JSON."""

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

POST = """SELECT posts.id::text, title, content, username AS author, posts.created_at::text
FROM posts JOIN users ON users.id = author_id WHERE posts.id = $1"""

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Application:
    """An ASGI application that opens its pool with the lifespan's startup."""

    pool: "asyncpg.Pool[asyncpg.Record]"

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.live(receive, send)
        else:
            await self.answer(scope["path"], send)

    async def live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with asyncpg.create_pool(os.environ["DATABASE_URL"], max_size=10) as self.pool:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def answer(self, path: str, send: Send) -> None:
        row = await self.pool.fetchrow(POST, path.rpartition("/")[2])
        body = json.dumps(dict(row) if row else None).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send(
            {"type": "http.response.start", "status": 200 if row else 404, "headers": headers}
        )
        await send({"type": "http.response.body", "body": body})


app = Application()
