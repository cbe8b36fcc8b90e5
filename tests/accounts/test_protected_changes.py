"""What changes an account needs a fresh session once the account has more than a password."""

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from service import clock as service_clock
from service.settings import Settings
from service.testing.client import PASSWORD
from service.testing.clock import Clock
from tests.support.client import Client
from tests.support.protection import freshen, give_key
from tests.support.round_trips import Trips
from tests.support.second_factor import turn_on

NEW_PASSWORD = "a quite different passphrase"
STALE = 901  # seconds
CHANGES: list[tuple[str, str, dict[str, Any]]] = [
    ("PATCH", "/auth/me", {"email": "new@example.com"}),
    ("PUT", "/auth/password", {"current_password": PASSWORD, "new_password": NEW_PASSWORD}),
    ("DELETE", "/auth/me", {"password": PASSWORD}),
]
METHODS = {"totp": ["code", "recovery_code"], "key": ["password"]}

changes = pytest.mark.parametrize(("method", "path", "body"), CHANGES)


@pytest.fixture
async def ann(client: Client) -> Client:
    """Somebody."""
    return await client.sign_up("ann@example.com", username="ann")


async def protect(client: Client, db: asyncpg.Connection, by: str) -> None:
    """Give an account a second factor or an API key."""
    if by == "totp":
        await turn_on(client)
    else:
        await give_key(db, client)


@pytest.mark.parametrize("by", METHODS)
@changes
async def test_change_of_a_protected_account_needs_a_fresh_session(
    ann: Client,
    db: asyncpg.Connection,
    clock: Clock,
    by: str,
    method: str,
    path: str,
    body: dict[str, Any],
) -> None:
    await protect(ann, db, by)
    before = await db.fetchrow("SELECT email, password_hash, deleted_at FROM users")
    clock.advance(STALE)
    refused = await ann.request(method, path, json=body)
    assert (refused.status, refused.json["reason"]) == (403, "step_up_required")
    assert refused.json["methods"] == METHODS[by]
    assert await db.fetchrow("SELECT email, password_hash, deleted_at FROM users") == before
    await freshen(db, ann)
    assert (await ann.request(method, path, json=body)).status < 300


@changes
async def test_change_of_an_account_with_a_password_alone_needs_no_fresh_session(
    ann: Client, db: asyncpg.Connection, clock: Clock, method: str, path: str, body: dict[str, Any]
) -> None:
    # A key that has expired protects nothing.
    await give_key(db, ann, expires_at=service_clock.now() + timedelta(seconds=STALE - 1))
    clock.advance(STALE)
    assert (await ann.request(method, path, json=body)).status < 300


@changes
async def test_stale_session_of_a_protected_account_is_no_oracle_of_its_password(
    ann: Client, db: asyncpg.Connection, clock: Clock, method: str, path: str, body: dict[str, Any]
) -> None:
    await give_key(db, ann)
    clock.advance(STALE)
    wrong = {name: "wrong password" if value == PASSWORD else value for name, value in body.items()}
    answers = [await ann.request(method, path, json=one) for one in (body, wrong)]
    for answer in answers:
        answer.json.pop("request_id")
    assert answers[0].json == answers[1].json


@changes
async def test_fresh_session_of_a_protected_account_still_shows_the_password(
    ann: Client, db: asyncpg.Connection, method: str, path: str, body: dict[str, Any]
) -> None:
    await turn_on(ann)
    if PASSWORD not in body.values():
        assert (await ann.request(method, path, json=body)).status == 200
        return
    wrong = {name: "wrong password" if value == PASSWORD else value for name, value in body.items()}
    refused = await ann.request(method, path, json=wrong)
    assert (refused.status, refused.json["message"]) == (403, "The password is wrong")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/auth/me", {"email": "nobody"}),
        ("PUT", "/auth/password", {"current_password": PASSWORD, "new_password": "short"}),
        (
            "PUT",
            "/auth/password",
            {"current_password": PASSWORD, "new_password": "ann@example.com"},
        ),
        ("DELETE", "/auth/me", {}),
    ],
)
async def test_wrong_body_is_400_before_freshness_is_judged(
    ann: Client, db: asyncpg.Connection, clock: Clock, method: str, path: str, body: dict[str, Any]
) -> None:
    await give_key(db, ann)
    clock.advance(STALE)
    assert (await ann.request(method, path, json=body)).status == 400


@pytest.mark.parametrize(
    "change", [{"username": "anna"}, {"email": "ANN@example.com"}, {"email": "ann@example.com"}, {}]
)
async def test_change_that_leaves_the_address_needs_no_fresh_session(
    ann: Client, db: asyncpg.Connection, clock: Clock, change: dict[str, Any]
) -> None:
    await turn_on(ann)
    clock.advance(STALE)
    assert (await ann.patch("/auth/me", change)).status == 200


async def test_changed_password_leaves_the_second_factor_on(
    ann: Client, settings: Settings
) -> None:
    await turn_on(ann)
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert (await ann.put("/auth/password", body)).status == 204
    assert (await ann.get("/auth/security")).json["second_factor"] is True


async def test_new_username_asks_nothing_about_what_protects_the_account(
    ann: Client, trips: Trips
) -> None:
    sent = await trips.during(ann.patch("/auth/me", {"username": "anna"}))
    assert sent == ["BEGIN", "COMMIT", "SELECT", "UPDATE"]
