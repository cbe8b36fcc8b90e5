"""SIGTERM loses no request: `service serve` as it runs in production, on both event loops."""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from service.settings import ServerName
from tests.support.polling import until
from tests.support.processes import Connection, ServiceProcess, ask, service_process
from tests.support.servers import uvicorn_later

LOCKED = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
# The loop of hypercorn.toml is always tested, the other with the proofs: the ends are measured.
LOOPS = ["uvloop", pytest.param("asyncio", marks=[pytest.mark.proof, pytest.mark.alone])]
# Seconds: graceful_timeout of hypercorn.toml, and what the end may take beside it.
GRACE = 20 + 2
MISTAKEN: dict[str, object] = {"service_env": "production", "secret_key": "short"}
POST = {"title": "kept", "content": "also when the process ends"}


@asynccontextmanager
async def locked(url: str) -> AsyncIterator[None]:
    """Hold up every request that reads or writes posts."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE posts IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


async def refuses(port: int) -> bool:
    """Whether nothing listens any more."""
    try:
        await ask(port, "GET", "/health/live")
    except OSError:
        return True
    return False


@pytest.mark.parametrize("loop", LOOPS)
async def test_requests_in_flight_are_answered_and_kept(
    loop: str, server: ServerName, database_url: str, db: "asyncpg.Connection", tmp_path: Path
) -> None:
    count = 8
    async with (
        service_process(database_url, tmp_path, server=server, worker_class=loop) as service,
        AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(Connection(service.port)) for _ in range(count)]
        await clients[0].sign_up("ada")
        created = [await clients[0].request("POST", "/api/posts", POST) for _ in clients]
        async with locked(database_url), Connection(service.port) as idle:
            for client, post in zip(clients, created, strict=True):
                client.token = clients[0].token
                await client.send("PATCH", f"/api/posts/{post.json['id']}", {"title": "changed"})
            await until(lambda: waiting(db, count))
            service.terminate()
            # A connection that waits for nothing is closed at once, which also tells that the
            # shutdown has begun.
            assert await asyncio.wait_for(idle.reader.read(), GRACE) == b""
        answers = [await client.receive() for client in clients]
        code, seconds = await service.ended()
    assert [answer.status for answer in answers] == [200] * count
    assert {answer.headers["connection"] for answer in answers} == {"close"}
    assert await db.fetchval("SELECT count(*) FROM posts WHERE title = 'changed'") == count
    assert code == 0
    assert seconds < GRACE


async def waiting(db: "asyncpg.Connection", count: int) -> bool:
    return bool(await db.fetchval(LOCKED) == count)


@pytest.mark.parametrize("loop", LOOPS)
async def test_balancer_sees_failing_readiness_before_the_port_closes(
    loop: str, server: ServerName, database_url: str, tmp_path: Path
) -> None:
    async with service_process(database_url, tmp_path, server=server, worker_class=loop) as service:
        assert (await ask(service.port, "GET", "/health/ready")).status == 200
        service.terminate()
        await until(lambda: not_ready(service.port))
        answer = await ask(service.port, "GET", "/api/posts")
        assert answer.status == 200
        assert answer.headers["connection"] == "close"
        assert (await ask(service.port, "GET", "/health/live")).status == 200
        code, seconds = await service.ended()
        assert code == 0
        assert seconds < GRACE
        assert await refuses(service.port)


async def not_ready(port: int) -> bool:
    answer = await ask(port, "GET", "/health/ready")
    if answer.status == 200:
        return False
    assert answer.status == 503
    assert "shutting down" in answer.json["message"]
    assert int(answer.headers["retry-after"]) > 0
    return True


@uvicorn_later
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.proof)]
)
async def test_idle_process_ends_at_once(
    number: signal.Signals, server: ServerName, database_url: str, tmp_path: Path
) -> None:
    async with service_process(database_url, tmp_path, server=server) as service:
        service.process.send_signal(number)
        code, seconds = await service.ended()
    assert code == 0
    assert seconds < GRACE


@pytest.mark.parametrize("loop", LOOPS)
async def test_endless_request_is_cut_off(
    loop: str, server: ServerName, database_url: str, tmp_path: Path
) -> None:
    """A client that never sends its body, and a balancer that never asks again.

    What is promised is graceful_timeout and 2 s.
    """
    graceful = 2
    async with (
        service_process(
            database_url, tmp_path, server=server, worker_class=loop, graceful_timeout=graceful
        ) as service,
        Connection(service.port) as stuck,
    ):
        await stuck.sign_up("ada")
        await stuck.send_part("POST", "/api/posts", length=10)
        assert (await ask(service.port, "GET", "/health/ready")).status == 200
        service.terminate()
        code, seconds = await service.ended()
    assert code == 0
    assert seconds < graceful + 2


@pytest.mark.proof
@pytest.mark.alone
@pytest.mark.parametrize("loop", LOOPS)
async def test_client_that_reads_nothing_does_not_hold_up_the_end(
    loop: str, server: ServerName, database_url: str, tmp_path: Path
) -> None:
    graceful = 2
    async with (
        service_process(
            database_url, tmp_path, server=server, worker_class=loop, graceful_timeout=graceful
        ) as service,
        Connection(service.port) as stuck,
    ):
        await stuck.sign_up("ada")
        for _ in range(60):
            post = {"title": "long", "content": "x" * 100_000}
            assert (await stuck.request("POST", "/api/posts", post)).status == 201
        # More than the sockets between take.
        await stuck.send("GET", "/api/posts?per_page=60")
        await stuck.reader.readexactly(1)
        service.terminate()
        code, seconds = await service.ended()
    assert code == 0
    assert seconds < graceful + 2


@uvicorn_later
async def test_port_stays_open_for_drain_seconds(
    server: ServerName, database_url: str, tmp_path: Path
) -> None:
    """Checks of readiness, each 20 ms here, do not shorten them."""
    drain = 1.5
    async with service_process(
        database_url, tmp_path, server=server, drain_seconds=drain
    ) as service:
        begin = time.monotonic()
        service.terminate()
        await until(lambda: not_ready(service.port))
        assert (await ask(service.port, "GET", "/api/posts")).headers["connection"] == "close"
        await until(lambda: refuses(service.port))
        assert time.monotonic() - begin > drain
        assert (await service.ended())[0] == 0


@uvicorn_later
async def test_request_outlives_drain_seconds_longer_than_graceful_timeout(
    server: ServerName, database_url: str, db: "asyncpg.Connection", tmp_path: Path
) -> None:
    """A request that comes while the port is still open has graceful_timeout from its closing."""
    drain, graceful = 1.5, 1
    async with (
        service_process(
            database_url, tmp_path, server=server, drain_seconds=drain, graceful_timeout=graceful
        ) as service,
        Connection(service.port) as client,
    ):
        async with locked(database_url):
            service.terminate()
            await until(lambda: not_ready(service.port))
            await client.send("GET", "/api/posts")
            await until(lambda: waiting(db, 1))
            await until(lambda: refuses(service.port))
        assert (await client.receive()).status == 200
        assert (await service.ended())[0] == 0


@pytest.mark.proof
async def test_second_signal_ends_drain_seconds(
    server: ServerName, database_url: str, tmp_path: Path
) -> None:
    async with service_process(database_url, tmp_path, server=server, drain_seconds=300) as service:
        service.terminate()
        await until(lambda: not_ready(service.port))
        service.terminate()
        code, seconds = await service.ended()
    assert code == 0
    assert seconds < GRACE


async def test_start_with_a_wrong_setting_exits_with_one_sentence(
    database_url: str, tmp_path: Path
) -> None:
    service = ServiceProcess(database_url, tmp_path, settings=MISTAKEN)
    assert await failure(service) == (1, True, False)


async def test_start_on_a_taken_port_exits_with_one_sentence(
    server: ServerName, database_url: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings: dict[str, object] = {"server": server}
        late = ServiceProcess(database_url, tmp_path, settings=settings, port=port)
        assert await failure(late) == (1, False, True)


async def failure(service: ServiceProcess) -> tuple[int, bool, bool]:
    """Exit code of a start that fails, and whether it blames the settings, and the address."""
    await service.launch()
    try:
        code, _ = await service.ended()
    finally:
        await service.kill()
    log = service.log.read_text()
    settings, address = "The settings are wrong", "It is not possible to listen"
    return code, f"Error: {settings}" in log, f"Error: {address}" in log
