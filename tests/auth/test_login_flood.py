"""A flood of logins must neither stop those who read nor fill the memory."""

import asyncio
import logging
import statistics
import time
from pathlib import Path

import pytest

from service.testing.client import PASSWORD
from tests.support.processes import Connection, ServiceProcess, service_process

log = logging.getLogger(__name__)

READERS = 16
FLOODERS = 32
SECONDS = 3
ROUNDS = 6
MEMORY = 150 * 1024 * 1024  # bytes that a flood may add

pytestmark = [pytest.mark.proof, pytest.mark.alone, pytest.mark.timeout(300)]


CREDENTIALS = {"email": "flood@example.com", "password": PASSWORD}


async def prepare(service: ServiceProcess) -> str:
    """An account and a post: the post's path."""
    async with Connection(service.port) as connection:
        await connection.sign_up("flood")
        post = {"title": "t", "content": "c" * 500}
        answer = await connection.request("POST", "/api/posts", post)
        return f"/api/posts/{answer.json['id']}"


async def read(service: ServiceProcess, path: str) -> float:
    """Read with all readers for a while: the 99th percentile of the times, in seconds."""
    times: list[float] = []
    deadline = time.monotonic() + SECONDS

    async def reader() -> None:
        async with Connection(service.port) as connection:
            while (start := time.monotonic()) < deadline:
                assert (await connection.request("GET", path)).status == 200
                times.append(time.monotonic() - start)

    await asyncio.gather(*(reader() for _ in range(READERS)))
    return statistics.quantiles(times, n=100)[-1]


async def flood(service: ServiceProcess, stop: asyncio.Event, statuses: list[int]) -> None:
    """Log in again and again until `stop` is set."""
    async with Connection(service.port) as connection:
        while not stop.is_set():
            answer = await connection.request("POST", "/auth/login", CREDENTIALS)
            statuses.append(answer.status)


async def test_readers_hardly_feel_a_login_flood(database_url: str, tmp_path: Path) -> None:
    statuses: list[int] = []
    quiet, flooded = [], []
    async with service_process(database_url, tmp_path) as service:
        path = await prepare(service)
        await read(service, path)  # warm
        before = service.resident()
        for _ in range(ROUNDS):
            quiet.append(await read(service, path))
            stop = asyncio.Event()
            flooding = [
                asyncio.create_task(flood(service, stop, statuses)) for _ in range(FLOODERS)
            ]
            await asyncio.sleep(0.5)  # until all of them are at it
            flooded.append(await read(service, path))
            stop.set()
            await asyncio.gather(*flooding)
        grown = service.resident() - before
    # Of many rounds in turns the medians: a machine has moments that are slow, or fast.
    ratio = statistics.median(flooded) / statistics.median(quiet)
    log.info("p99 in s: quiet %s, flooded %s, ratio %.2f", quiet, flooded, ratio)
    log.info("%d logins, %d MiB grown", len(statuses), grown >> 20)
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) > FLOODERS
    assert grown < MEMORY
    assert ratio < 1.5
