"""The end of keys: their owners are informed 7 days before it and at it, each once."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from service import clock as service_clock
from service.auth.api_keys import expiry
from service.db.database import Database
from service.notices.notices import Notice
from service.settings import Settings
from service.testing.clock import Clock
from service.worker.handlers import cleanups
from tests.support.api_keys import make_key, owner
from tests.support.client import Client

DAY = 86_400


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Notice, dict[str, str]]]:
    """What owners are informed of."""
    sent = []

    async def note(
        _session: object, user_id: Any, _email: str, notice: Notice, **detail: str
    ) -> None:
        sent.append((str(user_id), notice, detail))

    monkeypatch.setattr("service.auth.owners.send_notice", note)
    return sent


async def clean_up(database: Database, settings: Settings) -> None:
    """Run the clean-ups of keys until nothing is left, as the worker does."""
    for name, cleanup in cleanups(settings).items():
        while "API keys" in name:
            async with database.transaction() as session:
                if await cleanup(session, service_clock.now()) == 0:
                    break


def in_days(days: float) -> str:
    return (service_clock.now() + timedelta(days=days)).isoformat()


async def test_owner_is_informed_before_a_key_ends_and_when_it_has(
    client: Client, database: Database, settings: Settings, clock: Clock, notices: list[Any],
    db: asyncpg.Connection,
) -> None:  # fmt: skip
    ada = await owner(client)
    made = await make_key(ada, expires_at=in_days(30))
    named = {"name": made["name"], "hint": made["hint"]}
    notices.clear()
    clock.advance(22 * DAY)
    await clean_up(database, settings)
    assert notices == []
    clock.advance(DAY + 60)
    for _ in range(2):
        await clean_up(database, settings)
    assert notices == [(ada.user["id"], Notice.KEY_ENDS_SOON, {**named, "end": made["expires_at"]})]
    notices.clear()
    clock.advance(7 * DAY)
    for _ in range(2):
        await clean_up(database, settings)
    assert notices == [(ada.user["id"], Notice.KEY_ENDED, named)]
    [event] = await db.fetch("SELECT * FROM security_events WHERE kind = 'key.expired'")
    assert (str(event["user_id"]), event["actor_id"]) == (ada.user["id"], None)
    assert event["detail"] == f'{{"key_id": "{made["id"]}"}}'


async def test_key_made_for_less_than_7_days_is_not_announced_to_end(
    client: Client, database: Database, settings: Settings, clock: Clock, notices: list[Any]
) -> None:
    ada = await owner(client)
    await make_key(ada, expires_at=in_days(3))
    notices.clear()
    await clean_up(database, settings)
    assert notices == []
    clock.advance(3 * DAY + 60)
    await clean_up(database, settings)
    assert [notice for _, notice, _ in notices] == [Notice.KEY_ENDED]


async def test_revoked_keys_and_those_of_deleted_accounts_are_not_announced(
    client: Client, database: Database, settings: Settings, clock: Clock, notices: list[Any],
    db: asyncpg.Connection,
) -> None:  # fmt: skip
    ada, bob = await owner(client), await owner(client)
    made = await make_key(ada)
    await make_key(bob)
    await ada.delete(f"/auth/keys/{made['id']}")
    await db.execute("UPDATE users SET deleted_at = now() WHERE id = $1", bob.user["id"])
    notices.clear()
    for _ in range(2):
        clock.advance(85 * DAY)
        await clean_up(database, settings)
    assert notices == []


async def test_two_workers_inform_an_owner_once(
    client: Client, database: Database, clock: Clock, notices: list[Any]
) -> None:
    ada = await owner(client)
    for _ in range(3):
        await make_key(ada)
    for cleanup, days, notice in (
        (expiry.warn_of_ends, 84, Notice.KEY_ENDS_SOON),
        (expiry.report_ends, 7, Notice.KEY_ENDED),
    ):
        notices.clear()
        clock.advance(days * DAY)

        async def work() -> int:
            async with database.transaction() as session:
                done = await cleanup(session, service_clock.now())  # noqa: B023
                await asyncio.sleep(0)
                return done

        assert sum(await asyncio.gather(*(work() for _ in range(4)))) == 3
        assert [sent for _, sent, _ in notices] == [notice] * 3


async def test_ended_keys_are_deleted_after_the_retention(
    client: Client, database: Database, settings: Settings, clock: Clock, db: asyncpg.Connection
) -> None:
    ada = await owner(client)
    await make_key(ada, expires_at=in_days(1))
    kept = await make_key(ada, expires_at=in_days(60))
    clock.advance(30 * DAY)
    await clean_up(database, settings)
    assert await db.fetchval("SELECT count(*) FROM api_keys") == 2
    clock.advance(2 * DAY)
    await clean_up(database, settings)
    assert str(await db.fetchval("SELECT id FROM api_keys")) == kept["id"]
