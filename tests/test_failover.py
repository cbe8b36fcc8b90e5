"""Several hosts in DATABASE_URL, and servers that take no writes."""

import asyncio
import re
from pathlib import Path
from time import monotonic
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from service.db.connecting import open_connection
from service.db.failures import HostsUnavailable, failure_reason
from service.db.hosts import ATTEMPT_DELAY, connect_to_first
from service.settings.database_url import Host
from service.testing.application import make_settings, running
from tests.support.client import Client
from tests.support.command import Invoke
from tests.support.forwarding import forwarding, silence

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
