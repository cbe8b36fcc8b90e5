"""Several hosts in DATABASE_URL, and servers that take no writes."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any, cast
from urllib.parse import urlsplit

import asyncpg
import click
import pytest
from structlog.testing import capture_logs

from service.cli.database import upgrade
from service.db.connecting import open_connection
from service.db.failures import HostsUnavailable, failure_reason
from service.db.hosts import ATTEMPT_DELAY, connect_to_first
from service.db.pool import CONNECTIONS_PER_READER
from service.settings import Settings
from service.settings.database_url import Host
from service.testing.application import make_settings, running
from service.web.server.application import Service
from service.worker.driver import PatientDriver, open_pool
from tests.support.client import Client, refused
from tests.support.command import Invoke
from tests.support.forwarding import forwarding, silence
from tests.support.polling import until
from tests.support.postgres import url_to
from tests.support.processes import Connection, service_process
from tests.support.replication import migrate, replicated

POST = {"title": "a", "content": "b"}
PERSON = {"email": "ada@example.com", "password": "correct horse battery staple"}
# Seconds. A silent server is left after its statement's time and SILENCE (1 s each here).
RECOVERY = 6
REFUSING = "127.0.0.1:1"


def url_of(database_url: str, *hosts: int | str, query: str = "") -> str:
    """The URL of the test's database at several ports of this machine, or at other hosts."""
    names = ",".join(host if isinstance(host, str) else f"127.0.0.1:{host}" for host in hosts)
    return f"postgresql://service@{names}{urlsplit(database_url).path}?{query}"


async def test_frozen_first_host_holds_up_no_request(database_url: str, tmp_path: Path) -> None:
    async with silence() as frozen, forwarding(database_url) as well:
        url = url_of(database_url, frozen, REFUSING, well)
        async with running(make_settings(database_url=url, data_dir=tmp_path)) as app:
            client = Client(app)
            start = monotonic()
            assert (await client.get("/health/ready")).status == 200
            assert (await (await client.sign_up()).get("/api/posts")).status == 200
            assert monotonic() - start < 4


async def test_hosts_that_all_fail_are_named_each_with_its_reason(database_url: str) -> None:
    async with silence() as frozen, forwarding(database_url) as well:
        url = url_of(database_url, REFUSING, frozen, well, query="connect_timeout=1")
        url = url.replace(urlsplit(url).path, "/not_there")
        start = monotonic()
        with pytest.raises(HostsUnavailable) as caught:
            await open_connection(make_settings(database_url=url))
        assert monotonic() - start < 1 + 2 * ATTEMPT_DELAY + 1
    refused, silent, missing = failure_reason(caught.value).split("; ")
    assert refused == f"{REFUSING}: ConnectionRefusedError: Connect call failed ('127.0.0.1', 1)"
    assert silent == f"127.0.0.1:{frozen}: TimeoutError"
    assert missing.startswith(f"127.0.0.1:{well}: InvalidCatalogNameError: ")


def test_commands_name_every_host(invoke: Invoke, database_url: str) -> None:
    url = url_of(database_url, REFUSING, "127.0.0.1:2")
    result = invoke("migrate", "--wait=0", database_url=url)
    assert result.exit_code == 1
    assert re.search(r"No host of DATABASE_URL .* 127.0.0.1:1: .*; 127.0.0.1:2: ", result.stderr)


class Opened:
    """A connection that is only terminated."""

    terminated = False

    def terminate(self) -> None:
        self.terminated = True


async def test_connection_that_loses_the_race_is_closed() -> None:
    made: dict[Host, Opened] = {}
    both = asyncio.Event()

    async def connect(host: Host) -> Any:
        made[host] = Opened()
        if len(made) == 2:
            both.set()
        await both.wait()
        return made[host]

    hosts = [Host("a"), Host("b")]
    winner = cast(Opened, await connect_to_first(hosts, connect))
    await asyncio.sleep(0)
    assert sorted(each.terminated for each in made.values()) == [False, True]
    assert not winner.terminated


async def set_read_only(db: "asyncpg.Connection", *, to: bool) -> None:
    """Make new connections to the test's database refuse writes, as a standby's do, or not."""
    name = await db.fetchval("SELECT current_database()")
    change = "SET default_transaction_read_only = on" if to else "RESET ALL"
    async with db.transaction(readonly=False):
        await db.execute(f"ALTER DATABASE {name} {change}")


@pytest.mark.parametrize("noticed_by", ["write", "readiness"])
async def test_every_connection_to_a_server_that_takes_no_writes_is_dropped(
    app: Service, client: Client, db: "asyncpg.Connection", noticed_by: str
) -> None:
    member = await client.sign_up()
    await app.database.engine.dispose()
    await set_read_only(db, to=True)
    size = app.settings.database_pool_size
    writers = size - size // CONNECTIONS_PER_READER
    held = [app.database.session() for _ in range(writers)]
    for session in held:
        await session.connection()
    for session in held:
        await session.close()
    if noticed_by == "write":
        refused(await member.post("/api/posts", json=POST), 503)
    else:
        message = refused(await client.get("/health/ready"), 503)["message"]
        assert message.endswith("takes no writes: transactions are read-only there")
    await set_read_only(db, to=False)
    answers = await asyncio.gather(*(member.post("/api/posts", json=POST) for _ in held))
    assert {answer.status for answer in answers} == {201}
    assert (await client.get("/health/ready")).status == 200


async def test_several_poolers_are_not_asked_whether_they_take_writes(
    database_url: str, db: "asyncpg.Connection"
) -> None:
    await set_read_only(db, to=True)
    async with forwarding(database_url) as well:
        url = url_of(database_url, REFUSING, well)
        with pytest.raises(HostsUnavailable):
            await open_connection(make_settings(database_url=url))
        settings = make_settings(database_url=url, database_pgbouncer=True)
        await (await open_connection(settings)).close()


async def test_worker_leaves_a_server_that_takes_no_writes(
    settings: Settings, db: "asyncpg.Connection"
) -> None:
    await set_read_only(db, to=True)
    with capture_logs() as lines:
        async with open_pool(settings) as pool:
            driver = PatientDriver(pool, asyncio.Event())
            task = asyncio.create_task(driver.execute("DELETE FROM pgqueuer"))
            await until(has(lines, "database away, trying again"))
            await set_read_only(db, to=False)
            async with asyncio.timeout(10):
                assert await task == "DELETE 0"


async def test_no_primary_is_503_that_says_so(
    database_url: str, db: "asyncpg.Connection", tmp_path: Path
) -> None:
    async with forwarding(database_url) as one, forwarding(database_url) as other:
        settings = make_settings(database_url=url_of(database_url, one, other), data_dir=tmp_path)
        await set_read_only(db, to=True)
        async with running(settings) as app:
            client = Client(app)
            refused(await client.get("/api/posts"), 503)
            message = refused(await client.get("/health/ready"), 503)["message"]
            assert message == "Not ready: no server of DATABASE_URL takes writes"
            await set_read_only(db, to=False)
            assert (await client.get("/health/ready")).status == 200
            assert (await client.get("/api/posts")).status == 200


@pytest.mark.parametrize("hosts", [1, 2])
async def test_migrate_waits_for_a_primary(
    database_url: str, db: "asyncpg.Connection", caplog: pytest.LogCaptureFixture, hosts: int
) -> None:
    async with forwarding(database_url) as port:
        settings = make_settings(database_url=url_of(database_url, *[port] * hosts))
        await set_read_only(db, to=True)
        with pytest.raises(click.ClickException, match="takes no writes"):
            await upgrade(settings)
        caplog.set_level("INFO")
        task = asyncio.create_task(upgrade(settings, wait=30))
        await until(said(caplog, "waiting for the database"))
        await set_read_only(db, to=False)
        assert (await task).steps == []


def has(lines: list[Any], event: str) -> Callable[[], Any]:
    async def found() -> bool:
        return any(line["event"] == event for line in lines)

    return found


def said(caplog: pytest.LogCaptureFixture, words: str) -> Callable[[], Any]:
    async def found() -> bool:
        return words in caplog.text

    return found


async def test_standby_serves_reads_and_once_promoted_everything(tmp_path: Path) -> None:
    with replicated() as (primary, standby):
        await migrate(primary.url())
        async with running(make_settings(database_url=standby.url(), data_dir=tmp_path)) as app:
            client = Client(app)
            await until(lambda: answers(client, "/api/posts"))
            message = refused(await client.get("/health/ready"), 503)["message"]
            assert message.endswith("the database takes no writes: its server is a standby")
            refused(await client.post("/auth/register", json=PERSON), 503)
            primary.stop("immediate")
            await asyncio.to_thread(standby.promote)
            assert (await client.post("/auth/register", json=PERSON)).status == 201
            assert (await client.get("/health/ready")).status == 200


async def answers(client: Client, path: str) -> bool:
    """Whether a path answers with 200; the standby follows the primary a moment later."""
    return (await client.get(path)).status == 200


@pytest.mark.proof
@pytest.mark.alone
async def test_service_follows_the_primary_through_a_freeze_and_a_switchover(
    tmp_path: Path,
) -> None:
    with replicated() as (first, second):
        await migrate(first.url())
        url = url_to(first, second, query="connect_timeout=1")
        options = {"database_statement_timeout": 1, "database_pool_timeout": 1}
        async with service_process(url, tmp_path, **options) as service:
            service.may_fail = True  # a commit on a connection that was cut off is logged in full
            async with Connection(service.port) as client:
                await client.sign_up("ada")
                token = client.token
            first.freeze()
            await asyncio.to_thread(second.promote)
            assert await seconds_until_written(service.port, token) < RECOVERY
            assert await service.answers("/health/ready")
            first.kill()
            await asyncio.to_thread(first.rebuild, second)
            second.stop()
            await asyncio.to_thread(first.promote)
            assert await seconds_until_written(service.port, token) < RECOVERY
            assert await service.answers("/health/ready")


async def seconds_until_written(port: int, token: str) -> float:
    """The seconds until a post is made; every answer before is a 503."""
    start = monotonic()
    while True:
        async with Connection(port) as client:
            client.token = token
            answer = await client.request("POST", "/api/posts", POST)
        if answer.status == 201:
            return monotonic() - start
        assert answer.status == 503
        assert monotonic() - start < 30
        await asyncio.sleep(0.05)
