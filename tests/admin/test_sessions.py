"""Operators end the login sessions of an account."""

import asyncio
from typing import Any

import asyncpg
import pytest

from service.settings import Settings
from service.testing.application import running
from service.testing.client import PASSWORD
from tests.support.api_keys import admin, make_key, owner, program
from tests.support.client import Client

UNKNOWN = "00000000-0000-7000-8000-000000000000"
MAILS = "SELECT count(*) FROM pgqueuer WHERE entrypoint = 'notice'"


@pytest.fixture
async def ada(client: Client) -> Client:
    """Somebody who may make keys."""
    return await owner(client)


@pytest.fixture
async def operator(client: Client) -> Client:
    """An operator who may make keys."""
    return await admin(client)


def path(of: Client) -> str:
    return f"/admin/users/{of.user['id']}/sessions"


async def ended(operator: Client, of: Client) -> list[dict[str, Any]]:
    query = f"/admin/events?user={of.user['id']}&kind=session.ended"
    found: list[dict[str, Any]] = (await operator.get(query)).json["events"]
    return found


async def test_all_sessions_of_an_account_end_on_the_next_request_by_any_process(
    operator: Client, ada: Client, client: Client, settings: Settings, db: asyncpg.Connection
) -> None:
    again = await client.as_user(ada.user["email"], PASSWORD)
    key, bob = await program(ada, "account:read"), await client.sign_up()
    mails = await db.fetchval(MAILS)
    answer = await operator.delete(path(ada))
    assert (answer.status, answer.body) == (204, b"")
    async with running(settings) as other:
        for session in (ada, again, Client(other, ada.token)):
            assert (await session.get("/auth/me")).status == 401
    for untouched in (bob, key, operator):
        assert (await untouched.get("/auth/me")).status == 200
    [event] = await ended(operator, ada)
    assert (event["actor_id"], event["detail"]) == (operator.user["id"], {"sessions": 2})
    assert await db.fetchval(MAILS) == mails
    assert (await client.login(ada.user["email"], PASSWORD)).status == 200


async def test_account_without_a_live_session_is_left_without_an_event(
    operator: Client, ada: Client
) -> None:
    assert (await operator.delete(path(ada))).status == 204
    assert (await operator.delete(path(ada))).status == 204
    assert len(await ended(operator, ada)) == 1


async def test_sessions_that_several_end_at_once_are_recorded_once(
    operator: Client, ada: Client
) -> None:
    answers = await asyncio.gather(*(operator.delete(path(ada)) for _ in range(4)))
    assert [answer.status for answer in answers] == [204] * 4
    assert [event["detail"] for event in await ended(operator, ada)] == [{"sessions": 1}]


async def test_operators_who_end_each_other_s_sessions_at_once_do_not_lock_one_another_out(
    operator: Client, client: Client
) -> None:
    other = await admin(client)
    answers = await asyncio.gather(operator.delete(path(other)), other.delete(path(operator)))
    assert sorted(answer.status for answer in answers) == [204, 401]


async def test_sessions_of_no_account_are_not_found(operator: Client, ada: Client) -> None:
    assert (await ada.delete("/auth/me", {"password": PASSWORD})).status == 204
    for gone in (path(ada), f"/admin/users/{UNKNOWN}/sessions"):
        answer = await operator.delete(gone)
        assert (answer.status, answer.json["message"]) == (404, "Account not found")


async def test_key_ends_sessions_by_the_scope_to_write(operator: Client, ada: Client) -> None:
    reader = await program(operator, "admin:read")
    assert (await reader.delete(path(ada))).status == 403
    assert (await ada.get("/auth/me")).status == 200
    made = await make_key(operator, "admin:write")
    assert (await Client(operator.app, made["key"]).delete(path(ada))).status == 204
    [event] = await ended(operator, ada)
    assert event["detail"] == {"key_id": made["id"], "sessions": 1}
