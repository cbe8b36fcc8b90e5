"""Many connections, and many requests: what they cost one process of the service."""

import asyncio
import random
import resource
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import quantiles

import pytest

from service.settings import ServerName
from tests.support.polling import until
from tests.support.processes import Connection, ServiceProcess, service_process

ACTIVE = 64
SECONDS = 0.5
ROUNDS = 20
TRIES = 3
HELD = 10_000
WAVE = 50
KIB_PER_CONNECTION = 12
REQUEST = b"GET /api/posts HTTP/1.1\r\nHost: localhost\r\n\r\n"
ACCOUNTS = 8
REQUESTS = 200_000
WARM = 50_000

pytestmark = [pytest.mark.proof, pytest.mark.alone, pytest.mark.timeout(900)]


@pytest.fixture
def open_files() -> Iterator[None]:
    """As many open files as these connections need, here and in the service."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(HELD + 1_000, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def idle(service: ServiceProcess, count: int, *, used: bool) -> AsyncIterator[None]:
    """So many connections that the service has taken, `used` for one request each or for none."""
    with ExitStack() as connections:
        for _ in range(count // WAVE):
            opened = [connections.enter_context(connect(service.port)) for _ in range(WAVE)]
            if used:
                await asyncio.to_thread(use, opened)
        await until(partial(has, service, count))
        yield
    await until(partial(has, service, 0))


def connect(port: int) -> socket.socket:
    """A connection on which the service has 10 seconds for each answer."""
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def use(connections: list[socket.socket]) -> None:
    """Send a request on each and read its answer."""
    for connection in connections:
        connection.sendall(REQUEST)
    for connection in connections:
        assert connection.recv(2**16).startswith(b"HTTP/1.1 200")


async def has(service: ServiceProcess, connections: int) -> bool:
    return service.connections() == connections


async def cost(service: ServiceProcess) -> float:
    """The processor time that the service spends on a busy client's request, in seconds."""
    started, done = service.cpu(), 0
    deadline = time.monotonic() + SECONDS

    async def client() -> None:
        nonlocal done
        async with Connection(service.port) as connection:
            while time.monotonic() < deadline:
                assert (await connection.request("GET", "/api/posts")).status == 200
                done += 1

    await asyncio.gather(*(client() for _ in range(ACTIVE)))
    return (service.cpu() - started) / done


@pytest.mark.usefixtures("open_files")
@pytest.mark.parametrize(
    ("server", "worker_class", "used"),
    [
        ("hypercorn", "uvloop", True),
        ("hypercorn", "asyncio", True),
        ("hypercorn", "uvloop", False),
        ("uvicorn", "uvloop", True),
    ],
    ids=["used", "used, asyncio", "silent", "used, uvicorn"],
    indirect=["server"],
)
async def test_ten_thousand_idle_connections_cost_little(
    server: ServerName, database_url: str, tmp_path: Path, worker_class: str, used: bool
) -> None:
    options = {"server": server, "worker_class": worker_class}
    # Production has uvloop; asyncio's own loop keeps its timers in Python.
    most = 0.1 if worker_class == "uvloop" else 0.2
    async with (
        service_process(database_url, tmp_path, **options) as one,
        service_process(database_url, tmp_path, **options) as other,
    ):
        for service in (one, other):
            await cost(service)  # warm
            await until(partial(has, service, 0))
        before = one.resident()
        costs: list[tuple[float, float]] = []
        # Again while noise decides; and both ways round, for one process may be the faster one.
        for busy, holder in ((other, one), (one, other)) * TRIES:
            async with idle(holder, HELD, used=used):
                if not costs:
                    each = (one.resident() - before) / HELD / 1024
                costs += await compare(busy, holder)
                await until(partial(has, holder, HELD))  # and not closed meanwhile
            if holder is other and (more := increase(costs)) <= most:
                break
    print(f"{each:.1f} KiB a connection; {more:+.1%} for a request")  # noqa: T201
    assert each <= KIB_PER_CONNECTION
    assert more <= most


def increase(costs: list[tuple[float, float]]) -> float:
    """What the second costs are more than the first ones: their first quartiles, for noise adds."""
    alone, beside = (quantiles(spent)[0] for spent in zip(*costs, strict=True))
    return float(beside / alone - 1)


async def compare(one: ServiceProcess, other: ServiceProcess) -> list[tuple[float, float]]:
    """Their costs in turns, so that both meet the same noise."""
    return [(await cost(one), await cost(other)) for _ in range(ROUNDS)]


async def test_memory_stays_flat_under_lasting_load(database_url: str, tmp_path: Path) -> None:
    """Reads, writes, searches, logins, mistakes: after 50,000 requests 150,000 more."""
    async with service_process(database_url, tmp_path) as service:
        load = Mixed(service)
        await load.sign_up()
        await load.run(WARM)
        before = service.resident()
        await load.run(REQUESTS - WARM)
        grown = service.resident() / before - 1
    print(f"{before >> 20} MiB, {grown:+.1%}")  # noqa: T201
    assert grown < 0.05


class Mixed:
    """What clients do in a day, in random order."""

    def __init__(self, service: ServiceProcess) -> None:
        self._clients = [Connection(service.port) for _ in range(ACTIVE)]
        self._left = 0

    async def sign_up(self) -> None:
        """Make their accounts, one after the other: hashing passwords takes long."""
        for number, client in enumerate(self._clients):
            if number < ACCOUNTS:
                await client.sign_up(f"client{number}")
            client.token = self._clients[number % ACCOUNTS].token

    async def run(self, requests: int) -> None:
        """Ask so many times."""
        self._left = requests
        await asyncio.gather(*(self._ask(*client) for client in enumerate(self._clients)))

    async def _ask(self, number: int, client: Connection) -> None:
        dice = random.Random(number)
        post = (await client.request("POST", "/api/posts", NEW)).headers["location"]
        while self._left > 0:
            self._left -= 1
            method, path, body, status = dice.choices(MIX, WEIGHTS)[0]
            answer = await client.request(method, path.format(post=post), body)
            assert answer.status == status, answer.body
            if status == 201:
                post = answer.headers["location"]
        await client.__aexit__()


NEW = {"title": "A title", "content": "Words of a post. " * 20}
MIX: list[tuple[str, str, object, int]] = [
    ("GET", "{post}", None, 200),
    ("GET", "/api/posts", None, 200),
    ("GET", "/api/posts?q=words&per_page=5", None, 200),
    ("GET", "/auth/me", None, 200),
    ("POST", "/api/posts", NEW, 201),
    ("PUT", "{post}", {"title": "Another"}, 200),
    ("GET", "/api/posts/nothing", None, 404),
    ("POST", "/api/posts", {"title": ""}, 400),
    ("GET", "/health/ready", None, 200),
    ("GET", "/metrics", None, 200),
]
WEIGHTS = [60, 6, 0.5, 18, 4, 4, 4, 3, 0.3, 0.2]
