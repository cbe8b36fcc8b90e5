"""A flood of logins must neither stop those who read nor fill the memory."""

import asyncio
import json
import logging
import statistics
import time
from pathlib import Path

import pytest

from tests.auth.serving import Connection, Served, serve
from tests.client import PASSWORD

log = logging.getLogger(__name__)

READERS = 16
FLOODERS = 32
SECONDS = 3
ROUNDS = 6
MEMORY = 150 * 1024 * 1024  # bytes that a flood may add

pytestmark = [
    pytest.mark.proof,
    pytest.mark.timeout(300),
]


async def prepare(served: Served) -> tuple[str, bytes]:
    """An account and a post: the post's path and the login's body."""
    body = json.dumps({"email": "flood@example.com", "password": PASSWORD}).encode()
    async with Connection(served.port) as connection:
        assert (await connection.request("POST", "/auth/register", body))[0] == 201
        login = json.loads((await connection.request("POST", "/auth/login", body))[1])
        post = json.dumps({"title": "t", "content": "c" * 500}).encode()
        answer = await connection.request("POST", "/api/posts", post, login["access_token"])
        return f"/api/posts/{json.loads(answer[1])['id']}", body


async def read(served: Served, path: str) -> float:
    """Read with all readers for a while: the 99th percentile of the times, in seconds."""
    times: list[float] = []
    deadline = time.monotonic() + SECONDS

    async def reader() -> None:
        async with Connection(served.port) as connection:
            while (start := time.monotonic()) < deadline:
                status, _ = await connection.request("GET", path)
                assert status == 200
                times.append(time.monotonic() - start)

    await asyncio.gather(*(reader() for _ in range(READERS)))
    return statistics.quantiles(times, n=100)[-1]


async def flood(served: Served, body: bytes, stop: asyncio.Event, statuses: list[int]) -> None:
    """Log in again and again until told to stop."""
    async with Connection(served.port) as connection:
        while not stop.is_set():
            statuses.append((await connection.request("POST", "/auth/login", body))[0])


async def test_readers_hardly_feel_a_login_flood(database_url: str, tmp_path: Path) -> None:
    statuses: list[int] = []
    quiet, flooded = [], []
    async with serve(database_url, tmp_path) as served:
        path, body = await prepare(served)
        await read(served, path)  # warm
        before = served.resident()
        for _ in range(ROUNDS):
            quiet.append(await read(served, path))
            stop = asyncio.Event()
            flooding = [
                asyncio.create_task(flood(served, body, stop, statuses)) for _ in range(FLOODERS)
            ]
            await asyncio.sleep(0.5)  # until all of them are at it
            flooded.append(await read(served, path))
            stop.set()
            await asyncio.gather(*flooding)
        grown = served.resident() - before
    # Of many rounds in turns the medians: a machine has moments that are slow, or fast.
    ratio = statistics.median(flooded) / statistics.median(quiet)
    log.info("p99 in s: quiet %s, flooded %s, ratio %.2f", quiet, flooded, ratio)
    log.info("%d logins, %d MiB grown", len(statuses), grown >> 20)
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) > FLOODERS
    assert grown < MEMORY
    assert ratio < 1.5
