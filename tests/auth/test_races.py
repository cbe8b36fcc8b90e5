"""Many at once, against a real PostgreSQL."""

import asyncio
import hashlib

import asyncpg
import pytest

from service.settings import Settings
from service.testing.application import make_settings
from service.testing.client import PASSWORD
from tests.support.client import Client


@pytest.fixture
def settings(database_url: str) -> Settings:
    """More connections than by default, so that PostgreSQL sees real concurrency."""
    return make_settings(database_url=database_url, database_pool_size=20)


async def live_tokens(db: "asyncpg.Connection") -> int:
    """How many refresh tokens are live: a row holds one."""
    statement = "SELECT count(*) FROM sessions WHERE ended_at IS NULL"
    value: int = await db.fetchval(statement)
    return value


async def test_fifty_refreshes_of_one_token_end_on_one_branch(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await client.sign_up()
    answers = await asyncio.gather(
        *(one.post("/auth/refresh", token=one.refresh_token) for _ in range(50))
    )
    assert {answer.status for answer in answers} == {200}
    branches = {answer.json["refresh_token"] for answer in answers}
    assert len(branches) == 1
    assert len({answer.json["access_token"] for answer in answers}) == 50
    assert await live_tokens(db) == 1
    (token,) = branches
    assert (await one.post("/auth/refresh", token=token)).status == 200


async def test_logout_wins_against_concurrent_refreshes(
    client: Client, db: "asyncpg.Connection"
) -> None:
    for _ in range(5):
        one = await client.sign_up()
        refreshes = [one.post("/auth/refresh", token=one.refresh_token) for _ in range(8)]
        *answers, logout = await asyncio.gather(*refreshes, one.post("/auth/logout"))
        assert logout.status == 204
        assert {answer.status for answer in answers} <= {200, 401}
        assert await live_tokens(db) == 0
        for answer in answers:
            if answer.status == 200:
                access, token = answer.json["access_token"], answer.json["refresh_token"]
                assert (await one.get("/auth/me", token=access)).status == 401
                assert (await one.post("/auth/refresh", token=token)).status == 401


async def test_disabling_an_account_stops_its_requests_in_flight(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await client.sign_up()
    disabled = asyncio.Event()
    late: list[int] = []

    async def ask() -> None:
        while True:
            began_after = disabled.is_set()
            status = (await one.get("/auth/me")).status
            assert status in {200, 403}
            if began_after:
                late.append(status)
                return

    asking = [asyncio.create_task(ask()) for _ in range(8)]
    await one.get("/auth/me")
    await db.execute("UPDATE users SET is_active = false")
    disabled.set()
    await asyncio.gather(*asking)
    assert late == [403] * 8


async def test_reuse_of_an_old_token_beats_concurrent_refreshes(
    client: Client, db: "asyncpg.Connection"
) -> None:
    for _ in range(5):
        one = await client.sign_up()
        ancient = one.refresh_token
        parent = (await one.post("/auth/refresh", token=ancient)).json["refresh_token"]
        current = (await one.post("/auth/refresh", token=parent)).json["refresh_token"]
        shown = [current, parent, current, ancient, parent, current]
        answers = await asyncio.gather(*(one.post("/auth/refresh", token=each) for each in shown))
        assert answers[3].status == 401
        assert {answer.status for answer in answers} <= {200, 401}
        assert await live_tokens(db) == 0
        assert (await one.get("/auth/me")).status == 401
    reused = "SELECT count(*) FROM security_events WHERE kind = 'refresh.reused'"
    assert await db.fetchval(reused) == 5


async def test_login_with_the_old_password_does_not_outlive_its_change(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await client.sign_up()
    email = one.user["email"]
    body = {"current_password": PASSWORD, "new_password": "an entirely different staple"}
    others = [Client(client.app) for _ in range(3)]
    *logins, change = await asyncio.gather(
        *(other.login(email) for other in others), one.put("/auth/password", body)
    )
    assert change.status == 204
    assert {login.status for login in logins} <= {200, 401}
    assert await live_tokens(db) == 1
    assert (await one.get("/auth/me")).status == 200


async def test_logins_that_replace_an_old_hash_at_once_all_succeed(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await client.sign_up()
    hashed = "pbkdf2:sha1:1000$aX0n1Tjv$"
    hashed += hashlib.pbkdf2_hmac("sha1", PASSWORD.encode(), b"aX0n1Tjv", 1000).hex()
    await db.execute("UPDATE users SET password_hash = $1", hashed)
    answers = await asyncio.gather(*(client.login(one.user["email"]) for _ in range(5)))
    assert {answer.status for answer in answers} == {200}
    assert (await db.fetchval("SELECT password_hash FROM users")).startswith("$argon2id$")
