"""A PostgreSQL that is killed, restarted, frozen, full or locked: really, and under requests.

Each test has a server and a service of its own; what is promised holds over HTTP."""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import islice
from pathlib import Path

import asyncpg
import pytest

from service.db import migrations
from service.db.engine import SILENCE, create_engine
from service.db.pool import WAITING_PER_CONNECTION
from service.testing.application import make_settings
from tests.support.polling import until
from tests.support.postgres import Server, postgres_server
from tests.support.processes import Connection, ServiceProcess, ask, service_process
from tests.support.server import RawAnswer

# Seconds. Short, so that the tests are; what is promised grows with them.
POOL_TIMEOUT = 1
STATEMENT_TIMEOUT = 1
# A silent server is given up SILENCE after a statement's time; a busy machine gets its part, too.
BOUND = POOL_TIMEOUT + STATEMENT_TIMEOUT + SILENCE + 3
RECOVERY = 5
POOL = 3
POST = {"title": "acknowledged", "content": "and therefore kept"}
pytestmark = [pytest.mark.proof, pytest.mark.alone]


@pytest.fixture
def postgres() -> Iterator[Server]:
    """A server of the test's own."""
    with postgres_server() as server:
        yield server


@asynccontextmanager
async def serving(
    server: Server, folder: Path, pool_timeout: float, statement_timeout: float
) -> AsyncIterator[ServiceProcess]:
    """A service on that server, with a small pool."""
    engine = create_engine(make_settings(database_url=server.url()))
    await migrations.upgrade(engine)
    await engine.dispose()
    async with service_process(
        server.url(),
        folder,
        database_pool_size=POOL,
        database_pool_timeout=pool_timeout,
        database_statement_timeout=statement_timeout,
    ) as process:
        process.may_fail = True  # a commit on a connection that was cut off is logged in full
        yield process


@pytest.fixture
async def service(postgres: Server, tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    """A service on that server, with short times."""
    async with serving(postgres, tmp_path, POOL_TIMEOUT, STATEMENT_TIMEOUT) as process:
        yield process


def assert_unavailable(answer: RawAnswer) -> None:
    assert (answer.status, answer.json["code"]) == (503, 503)
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    assert int(answer.headers["retry-after"]) > 0


async def assert_told(service: ServiceProcess, count: int = 20) -> None:
    """Every request is answered with 503 in time, while liveness stays fast."""
    start = time.monotonic()
    asked = [asyncio.create_task(ask(service.port, "GET", "/api/posts")) for _ in range(count)]
    asked += [asyncio.create_task(ask(service.port, "GET", "/health/ready"))]
    alive = []
    while not all(task.done() for task in asked):
        begin = time.monotonic()
        assert (await ask(service.port, "GET", "/health/live")).status == 200
        alive.append(time.monotonic() - begin)
        await asyncio.wait(asked, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
    for task in asked:
        assert_unavailable(task.result())
    assert time.monotonic() - start < BOUND
    assert statistics.median(alive) < 0.25


async def assert_recovers(service: ServiceProcess) -> None:
    """Readers, writers and readiness are well again in time, without a restart."""
    async with asyncio.timeout(RECOVERY):
        await until(lambda: service.answers("/health/ready"), RECOVERY)
        await until(lambda: service.answers("/api/posts"), RECOVERY)
    answers = await asyncio.gather(*(ask(service.port, "GET", "/api/posts") for _ in range(20)))
    assert {answer.status for answer in answers} == {200}


class Writers:
    """Clients that write all the time, and what the service told them."""

    def __init__(self) -> None:
        self.acknowledged: set[str] = set()
        self.statuses: set[int] = set()

    async def write(self, service: ServiceProcess, token: str) -> None:
        client = Connection(service.port)
        client.token = token
        try:
            while True:
                answer = await client.request("POST", "/api/posts", POST)
                self.statuses.add(answer.status)
                if answer.status == 201:
                    self.acknowledged.add(answer.json["id"])
                else:
                    assert_unavailable(answer)
                    await asyncio.sleep(0.01)
        finally:
            if client.open:
                await client.__aexit__()


@asynccontextmanager
async def writing(service: ServiceProcess, count: int = 8) -> AsyncIterator[Writers]:
    """Write while something happens to the server."""
    writers = Writers()
    async with Connection(service.port) as first:
        await first.sign_up("ada")
    tasks = [asyncio.create_task(writers.write(service, first.token)) for _ in range(count)]

    async def written(more: int) -> None:
        goal = len(writers.acknowledged) + more
        await until(lambda: reached(writers, goal), 30)

    try:
        await written(50)
        yield writers
        await written(50)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(error, asyncio.CancelledError) for error in ended), ended


async def reached(writers: Writers, goal: int) -> bool:
    return len(writers.acknowledged) >= goal


async def assert_kept(url: str, writers: Writers) -> None:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("SELECT id::text FROM posts")
    await connection.close()
    assert writers.acknowledged <= {row["id"] for row in rows}


async def test_service_recovers_from_a_killed_postgresql(
    postgres: Server, service: ServiceProcess
) -> None:
    async with writing(service) as writers:
        postgres.kill()
        await until(lambda: told(service), BOUND)
        await assert_told(service)
        await asyncio.to_thread(postgres.start)
        await assert_recovers(service)
    await assert_kept(postgres.url(), writers)
    assert 503 in writers.statuses


async def told(service: ServiceProcess) -> bool:
    """Whether the fault has reached the requests."""
    return (await ask(service.port, "GET", "/api/posts")).status == 503


async def test_restart_between_requests_fails_no_request(
    postgres: Server, service: ServiceProcess
) -> None:
    await asyncio.gather(*(ask(service.port, "GET", "/api/posts") for _ in range(20)))
    postgres.kill()
    await asyncio.to_thread(postgres.start)
    answers = await asyncio.gather(*(ask(service.port, "GET", "/api/posts") for _ in range(20)))
    assert {answer.status for answer in answers} == {200}


async def test_service_recovers_from_a_frozen_postgresql(
    postgres: Server, service: ServiceProcess
) -> None:
    async with writing(service) as writers:
        postgres.freeze()
        await until(lambda: told(service), BOUND)
        await assert_told(service)
        postgres.thaw()
        await assert_recovers(service)
    await assert_kept(postgres.url(), writers)
    assert 503 in writers.statuses


async def test_service_recovers_from_exhausted_connections(
    postgres: Server, service: ServiceProcess
) -> None:
    async with AsyncExitStack() as taken:
        with suppress(asyncpg.TooManyConnectionsError):
            while True:
                connection = await asyncpg.connect(postgres.url())
                taken.push_async_callback(connection.close)
        # Superusers have places of their own, which the embedded server's owner may take.
        await assert_told(service)
    await assert_recovers(service)


async def test_locked_table_is_503_in_time(postgres: Server, service: ServiceProcess) -> None:
    connection = await asyncpg.connect(postgres.url())
    async with connection.transaction():
        await connection.execute("LOCK TABLE posts, users IN ACCESS EXCLUSIVE MODE")
        start = time.monotonic()
        answers = await asyncio.gather(
            *(ask(service.port, "GET", "/api/posts") for _ in range(20)),
            ask(service.port, "GET", "/health/live"),
        )
        assert time.monotonic() - start < BOUND
        assert answers.pop().status == 200
        for answer in answers:
            assert_unavailable(answer)
    await connection.close()
    await assert_recovers(service)


async def test_full_queue_refuses_requests_at_once(postgres: Server, tmp_path: Path) -> None:
    connection = await asyncpg.connect(postgres.url())
    excess = 40
    count = POOL * (1 + WAITING_PER_CONNECTION) + excess
    async with serving(postgres, tmp_path, 30, 30) as service:
        # Whoever opens a connection counts as waiting, so they are opened before.
        await asyncio.gather(*(ask(service.port, "GET", "/api/posts") for _ in range(20)))
        async with connection.transaction():
            await connection.execute("LOCK TABLE posts IN ACCESS EXCLUSIVE MODE")
            # Of the same list all would wait together.
            pages = [f"/api/posts?page={page + 1}" for page in range(count)]
            asked = [asyncio.create_task(ask(service.port, "GET", page)) for page in pages]
            refused = [await done for done in islice(asyncio.as_completed(asked), excess)]
        for answer in refused:
            assert_unavailable(answer)
        statuses = Counter(answer.status for answer in await asyncio.gather(*asked))
    await connection.close()
    assert statuses == {503: excess, 200: count - excess}


async def test_disconnected_clients_hold_no_connection(
    postgres: Server, service: ServiceProcess
) -> None:
    """2,000 clients go away at any moment of their request; the pool is as before."""
    connection = await asyncpg.connect(postgres.url())
    await ask(service.port, "GET", "/api/posts")
    made = await sessions(connection)
    for delay in range(40):
        await asyncio.gather(*(leave(service.port, delay / 4000) for _ in range(50)))
    # It comes to them when it has time: by then most have gone.
    await until(lambda: at_rest(connection))
    assert (await ask(service.port, "GET", "/api/posts")).status == 200
    again = await sessions(connection) - made
    usage = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'service'"
    )
    await connection.close()
    print(f"connections made anew for 2,000 clients that left: {again}")  # noqa: T201
    assert usage <= POOL
    assert again < 20 + POOL


async def sessions(connection: "asyncpg.Connection") -> int:
    """Connections ever made to the database, as far as the server has counted them."""
    count: int = await connection.fetchval(
        "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
    )
    return count


async def at_rest(connection: "asyncpg.Connection") -> bool:
    return not await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'service'"
        " AND state <> 'idle'"
    )


async def leave(port: int, seconds: float) -> None:
    """Ask, and go away after that time."""
    async with Connection(port) as client:
        await client.send("GET", "/api/posts")
        await asyncio.sleep(seconds)
