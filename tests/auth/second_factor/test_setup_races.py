"""Set-ups and confirmations of one account, many at once, in two processes of the service."""

import asyncio
from base64 import b32decode
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from hashlib import sha256
from typing import Any

import asyncpg
import pytest

from service.settings import Settings
from service.testing.application import make_settings
from service.testing.client import PASSWORD, Answer
from tests.support.client import Client, refused
from tests.support.polling import until
from tests.support.second_factor import (
    Authenticator,
    begin,
    beside,
    is_on,
    owner_of,
    try_code,
    turn_on,
)

WRONG = "This field is wrong"
NEW_PASSWORD = "an entirely different staple"


@pytest.fixture
def settings(database_url: str) -> Settings:
    """More connections than by default, so that PostgreSQL sees real concurrency."""
    return make_settings(database_url=database_url, database_pool_size=10)


@pytest.fixture
async def processes(client: Client, settings: Settings) -> AsyncIterator[tuple[Client, Client]]:
    """The same session of an account with a verified address, in two processes."""
    one = await owner_of(client)
    async with beside(settings, database_pool_size=10) as app:
        other = Client(app, one.token)
        other.user = one.user
        yield one, other


def messages(answers: list[Answer]) -> Counter[str]:
    """What refusals say of the code, and how often."""
    refusals = [answer for answer in answers if answer.status == 400]
    return Counter(answer.json["errors"]["code"][0] for answer in refusals)


async def test_of_thirty_confirmations_at_once_one_turns_the_second_factor_on(
    processes: tuple[Client, Client], db: "asyncpg.Connection"
) -> None:
    code = (await begin(processes[0])).code()
    answers = await asyncio.gather(*(try_code(processes[n % 2], code) for n in range(30)))
    assert Counter(answer.status for answer in answers) == {200: 1, 400: 29}
    assert WRONG not in messages(answers)
    [codes] = [answer.json["recovery_codes"] for answer in answers if answer.status == 200]
    stored = {row["digest"] for row in await db.fetch("SELECT digest FROM recovery_codes")}
    assert stored == {sha256(code.replace("-", "").encode()).digest() for code in codes}
    enabled = "SELECT count(*) FROM security_events WHERE kind = 'second_factor.enabled'"
    assert await db.fetchval(enabled) == 1
    assert await is_on(processes[1])


async def test_of_sixty_wrong_codes_at_once_five_are_judged(
    processes: tuple[Client, Client], db: "asyncpg.Connection"
) -> None:
    authenticator = await begin(processes[0])
    wrong = authenticator.wrong_code()
    answers = await asyncio.gather(*(try_code(processes[n % 2], wrong) for n in range(60)))
    assert {answer.status for answer in answers} == {400}
    assert messages(answers)[WRONG] == 5
    assert (await try_code(processes[0], authenticator.code())).status == 400
    assert await db.fetchval("SELECT count(*) FROM totps") == 0


async def test_of_setups_at_once_the_last_one_waits_alone(processes: tuple[Client, Client]) -> None:
    answers = await asyncio.gather(*(processes[n % 2].post("/auth/totp") for n in range(4)))
    assert {answer.status for answer in answers} == {201}
    begun = [Authenticator(b32decode(answer.json["secret"])) for answer in answers]
    results = [(await try_code(processes[0], each.code())).status for each in begun]
    assert Counter(results) == {200: 1, 400: 3}


async def test_confirmation_beside_a_change_of_the_password_succeeds_whole_or_not_at_all(
    processes: tuple[Client, Client], db: "asyncpg.Connection"
) -> None:
    one, other = processes
    passwords = PASSWORD, NEW_PASSWORD
    for number in range(4):
        code = (await begin(one)).code()
        body = {"current_password": passwords[number % 2]}
        body["new_password"] = passwords[(number + 1) % 2]
        confirmation, change = await asyncio.gather(
            try_code(one, code), other.put("/auth/password", body)
        )
        assert change.status == 204
        assert await is_on(one) == (confirmation.status == 200)
        assert await db.fetchval("SELECT count(*) FROM totp_setups") <= 1
        # Whichever was first: what waited does not outlive it.
        assert (await try_code(one, code)).status == 400
        assert (await one.delete("/auth/totp")).status == 204


async def test_confirmation_beside_the_end_of_the_second_factor_leaves_it_on_or_off(
    processes: tuple[Client, Client], db: "asyncpg.Connection"
) -> None:
    one, other = processes
    for _ in range(4):
        await turn_on(one)
        code = (await begin(one)).code()
        confirmation, removal = await asyncio.gather(
            try_code(one, code), other.delete("/auth/second-factor")
        )
        assert (confirmation.status in {200, 400}, removal.status) == (True, 204)
        # Of either order the end is the same: off.
        assert not await is_on(one)
        assert await db.fetchval("SELECT count(*) FROM totps") == 0
        assert await db.fetchval("SELECT count(*) FROM recovery_codes") == 0


async def test_new_recovery_codes_at_once_leave_ten_of_one_answer(
    processes: tuple[Client, Client], db: "asyncpg.Connection"
) -> None:
    await turn_on(processes[0])
    path = "/auth/second-factor/recovery-codes"
    answers = await asyncio.gather(*(processes[n % 2].post(path) for n in range(10)))
    assert {answer.status for answer in answers} == {201}
    stored = {row["digest"] for row in await db.fetch("SELECT digest FROM recovery_codes")}
    sets = [
        {sha256(code.replace("-", "").encode()).digest() for code in answer.json["recovery_codes"]}
        for answer in answers
    ]
    assert stored in sets


async def while_it_waits(
    db: "asyncpg.Connection", request: Coroutine[Any, Any, Answer], change: str
) -> Answer:
    """Change the only account, whose lock a request waits for, after it was let in."""
    blocked = "pg_backend_pid() = ANY (pg_blocking_pids(pid)) AND NOT granted"
    async with db.transaction():
        await db.execute("SELECT FROM users FOR UPDATE")
        answer = asyncio.create_task(request)
        await until(lambda: db.fetchval(f"SELECT EXISTS (SELECT FROM pg_locks WHERE {blocked})"))
        await db.execute(change)
    return await answer


async def test_address_that_changes_while_a_setup_begins_leaves_none(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await owner_of(client)
    change = "UPDATE users SET email_verified_at = NULL, sign_in_epoch = sign_in_epoch + 1"
    answer = await while_it_waits(db, one.post("/auth/totp"), change)
    assert (answer.status, answer.json["reason"]) == (403, "email_unverified")
    assert await db.fetchval("SELECT count(*) FROM totp_setups") == 0


@pytest.mark.parametrize(
    "change", ["UPDATE sessions SET ended_at = now()", "UPDATE users SET deleted_at = now()"]
)
async def test_session_that_ends_while_it_confirms_turns_nothing_on(
    client: Client, db: "asyncpg.Connection", change: str
) -> None:
    one = await owner_of(client)
    authenticator = await begin(one)
    answer = await while_it_waits(db, try_code(one, authenticator.code()), change)
    refused(answer, 401, "The session has ended")
    assert await db.fetchval("SELECT count(*) FROM totps") == 0
    assert await db.fetchval("SELECT second_factor_at FROM users") is None
