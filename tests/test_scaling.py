"""More than one process: behind the real HAProxy and PgBouncer, with many clients, for long."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from service.settings import ServerName
from tests.support.eventsource import EventSource
from tests.support.load import POST, Load, read_or_write
from tests.support.polling import until
from tests.support.processes import Connection, ServiceProcess, ask, free_port, service_process
from tests.support.proxies import balanced, in_use, program, running
from tests.support.server import RawAnswer, connected, head, kept_alive, receive

CLIENTS = 64
# Patient, so that a busy machine does not look like a lost request.
REPLICA = {"trusted_proxies": 1, "database_pool_size": 5, "database_pool_timeout": 30}

pytestmark = [pytest.mark.proof, pytest.mark.alone]


@dataclass
class Listener:
    """A replica that is no service."""

    port: int


@asynccontextmanager
async def two(url: str, folder: Path, server: ServerName) -> AsyncIterator[list[ServiceProcess]]:
    """Two replicas that believe the balancer in front of them."""
    async with (
        service_process(url, folder, server=server, **REPLICA) as first,
        service_process(url, folder, server=server, **REPLICA) as second,
    ):
        yield [first, second]


async def test_rolling_restart_loses_no_request(
    server: ServerName, database_url: str, db: "asyncpg.Connection", tmp_path: Path
) -> None:
    """64 clients read and write while each of two replicas is replaced, twice."""
    async with (
        two(database_url, tmp_path, server) as replicas,
        balanced(tmp_path, *replicas) as (port, statistics),
    ):
        await until(lambda: answers(port))
        async with Connection(port) as first:
            await first.sign_up("ada")
        load = Load(port, first.token, read_or_write)
        async with load.running(CLIENTS):
            for replica in replicas * 2:
                await load.reach(load.done + 500, 60)
                replica.terminate()
                code, seconds = await replica.ended()
                assert (code, seconds < 22) == (0, True)
                await replica.start()
                await until(lambda: in_use(statistics, 2))
            await load.reach(load.done + 500, 60)
        print(f"{load.done} requests over 4 restarts, {load.created} writes")  # noqa: T201
        assert not load.failed
        assert await db.fetchval("SELECT count(*) FROM posts") == load.created


async def answers(port: int) -> bool:
    return (await ask(port, "GET", "/api/posts")).status == 200


async def test_replica_that_is_killed_loses_no_read(
    server: ServerName, database_url: str, tmp_path: Path
) -> None:
    """What it had not answered is asked of the other, if it was to read only."""

    async def read(client: Connection, _number: int) -> RawAnswer:
        return await client.request("GET", "/api/posts?per_page=5")

    async with (
        two(database_url, tmp_path, server) as replicas,
        balanced(tmp_path, *replicas) as (port, _),
    ):
        load = Load(port, "", read)
        async with load.running(16):
            await load.reach(300, 60)
            await replicas[0].kill()
            await load.reach(load.done + 600, 60)
        assert not load.failed


async def test_balancer_hides_the_metrics(database_url: str, tmp_path: Path) -> None:
    async with (
        service_process(database_url, tmp_path) as replica,
        balanced(tmp_path, replica) as (port, _),
    ):
        await until(lambda: answers(port))
        for path in ("/metrics", "/metrics/", "/%6detrics", "//metrics", "/metrics?x=1"):
            refused = await ask(port, "GET", path)
            assert (refused.status, refused.json["code"]) == (403, 403)
            assert refused.headers["cache-control"] == "no-store"
        await replica.kill()
        await until(lambda: unavailable(port))


async def test_balancer_passes_on_no_upgrade(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    replica = Listener(free_port())
    lines = ["Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"]
    request = head("GET", "/health/live", *lines).replace(b"close", b"Upgrade, HTTP2-Settings")
    async with (
        await asyncio.start_server(answer, "127.0.0.1", replica.port),
        balanced(tmp_path, replica) as (port, _),
        connected(port) as (reader, writer),
    ):
        writer.write(request)
        assert (await receive(reader)).status == 200
    (sent,) = [each for each in heads if b"/health/live" in each]
    assert b"upgrade:" not in sent.lower()
    assert b"http2-settings:" not in sent.lower()


async def test_responses_to_uploads_that_are_refused_pass_through_the_balancer(
    server: ServerName, database_url: str, tmp_path: Path
) -> None:
    upload = kept_alive("PUT", "/auth/password", "Content-Length: 3000000") + b"x" * 3_000_000
    async with (
        service_process(database_url, tmp_path, server=server) as service,
        balanced(tmp_path, service) as (port, _),
        connected(port) as (reader, writer),
    ):
        for _ in range(12):
            writer.write(upload)
            assert (await receive(reader)).status == 401


async def unavailable(port: int) -> bool:
    """Whether the balancer says itself, in the service's shape, that nothing is there."""
    answer = await ask(port, "GET", "/api/posts")
    if answer.status != 503:
        return False
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    assert set(answer.json) == {"error", "message", "code", "request_id"}
    return True


@asynccontextmanager
async def bouncer(folder: Path, url: str) -> AsyncIterator[str]:
    """PgBouncer in transaction mode, with fewer connections than its clients; yields the address.

    Its user is the one that may open PostgreSQL's socket.
    """
    address = urlsplit(url)
    query = parse_qs(address.query)
    name, port = address.path.strip("/"), free_port()
    config = folder / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n{name} = host={query['host'][0]} port={query['port'][0]} user=service\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\n"
        "unix_socket_dir =\npool_mode = transaction\ndefault_pool_size = 3\n"
    )
    config.chmod(0o644)
    command = [program("pgbouncer"), "-q", str(config)]
    if os.getuid() == 0:
        command[1:1] = ["-u", "nobody"]
    async with running(*command, port=port):
        yield f"postgresql://service@127.0.0.1:{port}/{name}"


async def test_service_works_behind_pgbouncer(database_url: str, tmp_path: Path) -> None:
    """32 clients read and write over ten connections to it, and its three to the server."""
    folder = Path(tempfile.mkdtemp(prefix="service-pgbouncer-"))
    folder.chmod(0o755)
    async with (
        bouncer(folder, database_url) as url,
        service_process(url, tmp_path, database_pgbouncer="true") as service,
    ):
        async with Connection(service.port) as first:
            await first.sign_up("ada")
        load = Load(service.port, first.token, read_or_write)
        async with load.running(32):
            await load.reach(1_500, 60)
        async with EventSource(service.port).connected() as stream, first:
            await first.request("POST", "/api/posts", POST)
            async with asyncio.timeout(5):
                assert (await stream.next()).kind == "post.created"
    shutil.rmtree(folder)
    assert not load.failed
    assert load.created > 100
