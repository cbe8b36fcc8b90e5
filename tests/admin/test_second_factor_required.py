"""SECOND_FACTOR_REQUIRED=admins: /admin is for operators who showed a second factor."""

from pathlib import Path

import asyncpg
import pytest

from service.settings import Settings
from service.testing.application import make_settings, running
from tests.support.client import Client
from tests.support.protection import make_key
from tests.support.round_trips import Trips
from tests.support.second_factor import turn_on, verify_email

UNKNOWN = "00000000-0000-7000-8000-000000000000"
REQUESTS = [
    ("GET", "/admin/users"),
    ("GET", f"/admin/users/{UNKNOWN}"),
    ("PATCH", f"/admin/users/{UNKNOWN}"),
    ("DELETE", f"/admin/users/{UNKNOWN}/second-factor"),
    ("DELETE", f"/admin/users/{UNKNOWN}/keys"),
    ("DELETE", f"/admin/users/{UNKNOWN}/sessions"),
    ("DELETE", f"/admin/posts/{UNKNOWN}"),
    ("POST", f"/admin/posts/{UNKNOWN}/restore"),
    ("GET", "/admin/events"),
    ("GET", "/admin/posts"),
    ("GET", f"/admin/posts/{UNKNOWN}"),
    ("GET", "/admin/status"),
    ("GET", "/admin/jobs"),
    ("POST", "/admin/jobs/1/retry"),
    ("POST", "/admin/jobs/retry"),
]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return make_settings(
        database_url=database_url, data_dir=tmp_path, second_factor_required="admins"
    )


@pytest.mark.parametrize(("method", "path"), REQUESTS)
async def test_operator_without_a_second_factor_is_kept_out_of_every_route(
    client: Client, method: str, path: str
) -> None:
    operator = await client.as_admin()
    refused = await operator.request(method, path)
    assert (refused.status, refused.json["reason"]) == (403, "second_factor_required")
    assert "login_token" not in refused.json


async def test_operator_who_sets_up_a_second_factor_is_in_by_the_same_session(
    client: Client,
) -> None:
    operator = await client.as_admin()
    assert (await operator.get("/auth/me")).status == 200
    assert (await operator.post("/api/posts", {"title": "a", "content": "b"})).status == 201
    await turn_on(operator)
    assert (await operator.get("/admin/users")).status == 200
    path = f"/admin/users/{operator.user['id']}"
    assert (await operator.patch(path, {"is_active": True})).status == 200


@pytest.mark.parametrize("method", ["totp", "passkey", "security_key", "recovery_code"])
async def test_session_that_was_opened_by_any_second_factor_is_let_in(
    client: Client, db: asyncpg.Connection, method: str
) -> None:
    operator = await client.as_admin()
    await db.execute("UPDATE sessions SET methods = $1", ["password", method])
    assert (await operator.get("/admin/users")).status == 200
    await db.execute("UPDATE sessions SET methods = '{password,external:google}'")
    assert (await operator.get("/admin/users")).status == 403


@pytest.mark.parametrize("by", ["code", "recovery_code"])
async def test_login_with_a_second_factor_is_let_in(client: Client, by: str) -> None:
    operator = await client.as_admin("operator@example.com")
    app = await turn_on(operator)
    proofs = {"code": app.code(), "recovery_code": app.recovery_codes[0]}
    waiting = (await client.login("operator@example.com")).json["login_token"]
    body = {"login_token": waiting, by: proofs[by]}
    token = (await client.post("/auth/login/second-factor", body)).json["access_token"]
    assert (await client.get("/admin/users", token=token)).status == 200


async def test_session_without_a_second_factor_is_let_in_once_it_is_stepped_up_by_one(
    client: Client, db: asyncpg.Connection
) -> None:
    operator = await client.as_admin()
    app = await turn_on(operator)
    await db.execute("UPDATE sessions SET methods = '{password}'")
    assert (await operator.get("/admin/users")).status == 403
    assert (await operator.post("/auth/step-up", {"code": app.code()})).status == 200
    assert (await operator.get("/admin/users")).status == 200


async def test_key_is_let_in_when_the_session_that_made_it_had_shown_a_second_factor(
    client: Client,
) -> None:
    operator = await client.as_admin()
    await verify_email(operator)
    without = Client(client.app, await make_key(operator, "admin:read"))
    refused = await without.get("/admin/users")
    assert (refused.status, refused.json["reason"]) == (403, "second_factor_required")
    await turn_on(operator)
    assert (await without.get("/admin/users")).status == 403
    shown = Client(client.app, await make_key(operator, "admin:read"))
    assert (await shown.get("/admin/users")).status == 200


async def test_others_are_refused_as_ever(client: Client) -> None:
    ada = await client.sign_up()
    refused = await ada.get("/admin/users")
    assert (refused.status, refused.json["message"]) == (403, "Only administrators may do this")
    assert "reason" not in refused.json
    assert (await client.get("/admin/users")).status == 401


async def test_without_the_setting_a_request_of_an_operator_costs_nothing_more(
    database_url: str, tmp_path: Path
) -> None:
    async with running(make_settings(database_url=database_url, data_dir=tmp_path)) as app:
        operator = await Client(app).as_admin()
        trips = Trips(app.database.engine)
        assert await trips.during(operator.get("/admin/users")) == ["SELECT", "SELECT"]
