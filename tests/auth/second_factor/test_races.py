"""Second factors shown at once, to two processes on one database."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import NoReturn

import asyncpg
import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from service.db.pool import BoundedPool
from service.settings import Settings
from service.testing.application import make_settings, running
from tests.support.client import Client
from tests.support.polling import until
from tests.support.sign_in import Owner, as_client, show

LIVE = "SELECT count(*) FROM sessions WHERE ended_at IS NULL"
FAILURES = "SELECT coalesce(max(failures), 0) FROM code_locks"

# Other tests use the same server.
END_THE_WAITING = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock' LIMIT 1"
)


@pytest.fixture
def settings(database_url: str) -> Settings:
    """More connections than by default, so that PostgreSQL sees real concurrency."""
    return make_settings(database_url=database_url, database_pool_size=12, trusted_proxies=1)


@pytest.fixture
async def clients(client: Client, settings: Settings) -> AsyncIterator[tuple[Client, Client]]:
    """A client of each of two applications."""
    async with running(settings) as app:
        yield client, Client(app)


def from_address(number: int) -> dict[str, str]:
    return {"X-Forwarded-For": f"192.0.2.{number}"}


async def test_of_sixty_wrong_codes_at_once_five_are_judged(
    ada: Owner, clients: tuple[Client, Client], db: "asyncpg.Connection"
) -> None:
    tokens = [await ada.begin() for _ in range(60)]
    wrong = ada.app.wrong_code()
    answers = await asyncio.gather(
        *(
            clients[number % 2].post(
                "/auth/login/second-factor",
                {"login_token": token, "code": wrong},
                headers=from_address(number),
            )
            for number, token in enumerate(tokens)
        )
    )
    assert Counter(answer.status for answer in answers) == {401: 5, 429: 55}
    assert await db.fetchval(FAILURES) == 5
    kinds = (
        "SELECT kind, count(*) FROM security_events WHERE kind LIKE 'second_factor.%' GROUP BY 1"
    )
    counted = {row[0]: row[1] for row in await db.fetch(kinds)}
    assert counted["second_factor.failed"] == 5
    assert counted["second_factor.locked"] == 1


async def test_login_token_and_code_shown_thirty_times_at_once_open_one_session(
    ada: Owner, clients: tuple[Client, Client], db: "asyncpg.Connection"
) -> None:
    token, code = await ada.begin(), ada.app.code()
    answers = await asyncio.gather(
        *(show(clients[number % 2], token, code=code) for number in range(30))
    )
    assert Counter(answer.status for answer in answers) == {200: 1, 401: 29}
    assert await db.fetchval(LIVE) == 2  # one of them turned the second factor on
    assert await db.fetchval(FAILURES) == 0
    (opened,) = (answer for answer in answers if answer.status == 200)
    assert (await as_client(ada.client, opened).get("/auth/me")).status == 200


async def test_code_shown_at_once_for_many_logins_opens_one_session(
    ada: Owner, clients: tuple[Client, Client], db: "asyncpg.Connection"
) -> None:
    tokens, code = [await ada.begin() for _ in range(20)], ada.app.code()
    answers = await asyncio.gather(
        *(show(clients[number % 2], token, code=code) for number, token in enumerate(tokens))
    )
    assert Counter(answer.status for answer in answers) == {200: 1, 401: 19}
    assert await db.fetchval(FAILURES) == 0
    assert await db.fetchval(LIVE) == 2


async def test_recovery_code_shown_at_once_for_many_logins_opens_one_session(
    ada: Owner, clients: tuple[Client, Client], db: "asyncpg.Connection"
) -> None:
    tokens, code = [await ada.begin() for _ in range(10)], ada.app.recovery_codes[0]
    answers = await asyncio.gather(
        *(
            show(clients[number % 2], token, recovery_code=code)
            for number, token in enumerate(tokens)
        )
    )
    assert Counter(answer.status for answer in answers) == {200: 1, 401: 9}
    assert await db.fetchval("SELECT count(*) FROM recovery_codes") == 9


async def test_turning_the_second_factor_off_races_logins_and_leaves_none_halfway(
    ada: Owner, clients: tuple[Client, Client], db: "asyncpg.Connection"
) -> None:
    tokens = [await ada.begin() for _ in range(6)]
    codes = ada.app.recovery_codes
    *answers, off = await asyncio.gather(
        *(
            show(clients[number % 2], token, recovery_code=codes[number])
            for number, token in enumerate(tokens)
        ),
        ada.client.delete("/auth/second-factor"),
    )
    assert off.status == 204
    assert {answer.status for answer in answers} <= {200, 401}
    for answer in answers:
        if answer.status == 401:
            assert answer.json["reason"] == "login_expired"
    assert await db.fetchval("SELECT count(*) FROM recovery_codes") == 0
    assert (await clients[1].login(ada.email)).status == 200


async def test_cancelled_login_leaves_a_listed_session_or_an_unspent_token(
    ada: Owner, client: Client, db: "asyncpg.Connection"
) -> None:
    opened = 1
    for turns in (1, 5, 10, 20, 30, 40, 60, 80, 120):
        token, code = await ada.begin(), ada.app.recovery_codes.pop()
        asking = asyncio.create_task(show(client, token, recovery_code=code))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        await until(lambda: db.fetchval("SELECT count(*) = 0 FROM pg_locks WHERE NOT granted"))
        again = await show(client, token, recovery_code=code)
        assert again.status in {200, 401}
        opened += 1  # by the one or by the other
        assert await db.fetchval(LIVE) == opened, turns


async def test_login_that_finds_no_connection_is_503_and_spends_nothing(
    ada: Owner, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, code = await ada.begin(), ada.app.code()

    def connect(_pool: object) -> NoReturn:
        raise PoolTimeoutError("all connections are in use")

    with monkeypatch.context() as patch:
        patch.setattr(BoundedPool, "connect", connect)
        assert (await show(client, token, code=code)).status == 503
    assert (await show(client, token, code=code)).status == 200


async def test_login_whose_database_is_too_slow_is_503_and_spends_nothing(
    ada: Owner, client: Client, db: "asyncpg.Connection"
) -> None:
    token, code = await ada.begin(), ada.app.code()
    # The account is locked: the statement waits, and is ended.
    async with db.transaction():
        await db.execute("SELECT FROM users FOR UPDATE")
        asking = asyncio.create_task(show(client, token, code=code))
        await until(lambda: db.fetchval(END_THE_WAITING))
        answer = await asking
    assert answer.status == 503
    assert (await show(client, token, code=code)).status == 200
