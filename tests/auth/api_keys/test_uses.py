"""When and from where keys were last used: collected by each process, and written together."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from service import clock as service_clock
from service.auth.api_keys import uses
from service.auth.api_keys.principal import ApiKeys
from service.auth.api_keys.uses import KeyUses
from service.db.database import Database
from service.errors import Unavailable
from service.ids import new_id
from service.settings import Settings
from service.testing.application import make_settings, running
from service.testing.clock import Clock
from service.web.server.application import Service
from tests.support.api_keys import make_key, owner, program
from tests.support.client import Client
from tests.support.round_trips import Trips

ALICE = {"X-Forwarded-For": "192.0.2.7"}


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return make_settings(database_url=database_url, data_dir=tmp_path, trusted_proxies=1)


def key_uses(app: Service) -> KeyUses:
    return app.component(ApiKeys).uses


async def test_last_use_of_a_key_is_shown_to_its_owner(client: Client, clock: Clock) -> None:
    ada = await owner(client)
    by_key = await program(ada, "account:read")
    await make_key(ada, name="idle")
    clock.advance(100)
    before = service_clock.now()
    await by_key.get("/auth/me", headers=ALICE)
    await key_uses(client.app).write()
    idle, used = (await ada.get("/auth/keys")).json["keys"]
    assert idle["last_used_at"] is idle["last_used_ip"] is None
    assert used["last_used_ip"] == "192.0.2.7"
    assert before <= datetime.fromisoformat(used["last_used_at"]) <= service_clock.now()


async def test_uses_of_all_keys_are_written_in_one_statement_and_none_in_a_request(
    client: Client, trips: Trips, db: asyncpg.Connection
) -> None:
    ada = await owner(client)
    callers = [await program(ada, "account:read") for _ in range(5)]
    for caller in callers * 2:
        assert await trips.during(caller.get("/auth/me")) == ["SELECT"]
    assert await db.fetchval("SELECT count(last_used_at) FROM api_keys") == 0
    trips.sent.clear()
    await key_uses(client.app).write()
    await key_uses(client.app).write()  # nothing is left
    await asyncio.sleep(0)  # asyncpg informs its loggers in the loop's next turn
    assert trips.sent == ["WITH"]
    assert await db.fetchval("SELECT count(last_used_at) FROM api_keys") == 5


async def test_uses_are_written_regularly(
    client: Client, settings: Settings, db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = (await make_key(await owner(client), "account:read"))["key"]
    monkeypatch.setattr(uses, "INTERVAL", 0.01)
    written = asyncio.Event()
    write = KeyUses.write

    async def noting(self: KeyUses) -> None:
        noted = bool(self._uses)
        await write(self)
        if noted:
            written.set()

    monkeypatch.setattr(KeyUses, "write", noting)
    async with running(settings) as app:
        await Client(app, key).get("/auth/me")
        async with asyncio.timeout(10):
            await written.wait()
        assert await db.fetchval("SELECT last_used_at FROM api_keys") is not None


async def test_last_uses_are_written_at_the_shutdown(
    client: Client, settings: Settings, db: asyncpg.Connection
) -> None:
    key = (await make_key(await owner(client), "account:read"))["key"]
    async with running(settings) as app:
        assert (await Client(app, key).get("/auth/me")).status == 200
        assert await db.fetchval("SELECT last_used_at FROM api_keys") is None
    assert await db.fetchval("SELECT last_used_at FROM api_keys") is not None


async def test_shutdown_does_not_wait_for_a_database_that_is_silent(
    client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = (await make_key(await owner(client), "account:read"))["key"]
    monkeypatch.setattr(uses, "CLOSING", 0.01)

    async def silence(*_: object) -> None:
        await asyncio.Event().wait()

    async with asyncio.timeout(10), running(settings) as app:
        assert (await Client(app, key).get("/auth/me")).status == 200
        monkeypatch.setattr(app.database.autocommit, "write", silence)


async def test_later_use_by_another_process_stays(
    client: Client, settings: Settings, db: asyncpg.Connection, clock: Clock
) -> None:
    ada = await owner(client)
    key = (await make_key(ada, "account:read"))["key"]
    await client.get("/auth/me", token=key)
    async with running(settings) as app:
        clock.advance(100)
        await Client(app, key).get("/auth/me", headers=ALICE)
    await key_uses(client.app).write()
    assert await db.fetchval("SELECT last_used_ip FROM api_keys") == "192.0.2.7"


async def test_public_reads_are_uses(
    database_url: str, tmp_path: Path, db: asyncpg.Connection
) -> None:
    settings = make_settings(
        database_url=database_url, data_dir=tmp_path, trusted_proxies=1, ratelimit_enabled=True
    )
    async with running(settings) as app:
        by_key = await program(await owner(Client(app)), "account:read")
        for address in ("192.0.2.1", "192.0.2.2"):  # unknown to this process, and known
            await by_key.get("/api/posts", headers={"X-Forwarded-For": address})
            await key_uses(app).write()
            assert await db.fetchval("SELECT last_used_ip FROM api_keys") == address


async def test_refused_requests_are_no_uses(client: Client, db: asyncpg.Connection) -> None:
    by_key = await program(await owner(client), "account:read")
    await db.execute("UPDATE users SET is_active = false")
    assert (await by_key.get("/auth/me")).status == 403
    await key_uses(client.app).write()
    assert await db.fetchval("SELECT last_used_at FROM api_keys") is None


async def test_use_of_a_key_that_is_gone_is_no_failure(database: Database) -> None:
    noted = KeyUses(database.autocommit)
    noted.note(new_id(), service_clock.now(), None)
    await noted.write()
    assert not noted._uses


async def test_uses_that_cannot_be_written_are_kept_and_reported(
    client: Client,
    db: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    by_key = await program(await owner(client), "account:read")
    await by_key.get("/auth/me")

    async def unavailable(*_: object) -> None:
        raise Unavailable

    with monkeypatch.context() as broken:
        broken.setattr(client.app.database.autocommit, "write", unavailable)
        await key_uses(client.app).write()
    assert "uses of API keys not written" in capsys.readouterr().out
    await key_uses(client.app).write()
    assert await db.fetchval("SELECT last_used_at FROM api_keys") is not None


async def test_newer_use_wins_over_one_that_could_not_be_written(database: Database) -> None:
    noted = KeyUses(database.autocommit)
    key_id, now = new_id(), service_clock.now()
    failing = noted._uses
    noted.note(key_id, now, "192.0.2.1")
    noted._uses = {}
    noted.note(key_id, now + timedelta(seconds=1), "192.0.2.2")
    noted._keep(failing)
    assert noted._uses[key_id].ip == "192.0.2.2"


async def test_uses_take_bounded_memory(database: Database) -> None:
    noted = KeyUses(database.autocommit, maximum=2)
    ids, now = [new_id() for _ in range(3)], service_clock.now()
    for key_id in ids:
        noted.note(key_id, now, None)
    noted.note(ids[0], now, "192.0.2.1")
    assert list(noted._uses) == ids[:2]
    assert noted._uses[ids[0]].ip == "192.0.2.1"
