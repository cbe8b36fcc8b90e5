"""POST /auth/login."""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.auth.passwords import Passwords
from service.settings import Settings
from service.testing.application import make_settings, running
from service.testing.client import PASSWORD
from service.web.server.application import Service
from tests.support.client import Client, faults, refused
from tests.support.polling import until


async def disable_all(db: "asyncpg.Connection") -> None:
    await db.execute("UPDATE users SET is_active = false")


async def test_login_answers_tokens_and_the_user(client: Client) -> None:
    user = (await client.register("ada@example.com")).json
    answer = await client.login("ada@example.com")
    assert answer.status == 200
    assert set(answer.json) == {"access_token", "refresh_token", "token_type", "expires_in", "user"}
    assert answer.json["user"] == user
    assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 3600)


@pytest.mark.parametrize("email", ["ADA@EXAMPLE.COM", "Ada@Example.Com"])
async def test_email_is_read_in_any_case(client: Client, email: str) -> None:
    await client.register("ada@example.com")
    assert (await client.login(email)).status == 200


@pytest.mark.parametrize(
    "email", ["ΟΔΥΣΣΕΥΣ@example.com", "İstanbul@example.com", "ẞa@example.com"]
)
async def test_email_with_letters_that_languages_lower_differently_logs_in(
    client: Client, email: str
) -> None:
    registered = await client.register(email)
    assert registered.status == 201
    assert (await client.login(email)).status == 200
    assert (await client.login(registered.json["email"])).status == 200


@pytest.mark.parametrize("email", ["ada@example.com", "nobody@example.com", "not an address"])
async def test_wrong_password_and_unknown_email_get_the_same_words(
    client: Client, email: str
) -> None:
    await client.register("ada@example.com")
    answer = await client.login(email, "wrong password")
    refused(answer, 401, "Invalid credentials")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("email", ["ada@example.com", "nobody@example.com"])
async def test_unknown_email_costs_the_same_work(
    app: Service, client: Client, email: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.register("ada@example.com")
    hasher = type(app.component(Passwords)._hasher)
    verify, verified = hasher.verify, []

    def count(self: Any, hashed: str, password: str) -> Any:
        verified.append(hashed.split("$")[:4])
        return verify(self, hashed, password)

    monkeypatch.setattr(hasher, "verify", count)
    await client.login(email, "wrong password")
    assert verified == [["", "argon2id", "v=19", "m=8,t=1,p=1"]]


async def test_disabled_account_is_disclosed_to_its_owner(
    client: Client, db: "asyncpg.Connection"
) -> None:
    await client.register("ada@example.com")
    await disable_all(db)
    refused(await client.login("ada@example.com"), 403, "Account disabled")


async def test_disabled_account_is_not_disclosed_without_its_password(
    client: Client, db: "asyncpg.Connection"
) -> None:
    await client.register("ada@example.com")
    await disable_all(db)
    refused(await client.login("ada@example.com", "wrong password"), 401, "Invalid credentials")


@pytest.mark.parametrize("field", ["email", "password"])
@pytest.mark.parametrize("value", [None, "", 1, [], {}, "x" * 1025, "\0", "\ud800"])
async def test_invalid_login_value_is_named(anyone: Client, field: str, value: Any) -> None:
    values = {"email": "a@example.com", "password": PASSWORD, field: value}
    assert faults(await anyone.post("/auth/login", values)) == {field}


@pytest.mark.parametrize("length", [1, 1024])
async def test_login_asks_only_for_a_bounded_length(anyone: Client, length: int) -> None:
    refused(await anyone.login("x" * length, "y" * length), 401)


@pytest.mark.parametrize("stored", ["", "not a hash", "$argon2id$broken"])
async def test_stored_hash_that_cannot_be_read_matches_nothing(
    client: Client, db: "asyncpg.Connection", stored: str
) -> None:
    await client.register("ada@example.com")
    await db.execute("UPDATE users SET password_hash = $1", stored)
    refused(await client.login("ada@example.com"), 401, "Invalid credentials")


async def test_login_that_took_too_long_opens_no_session(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await client.sign_up()
    with monkeypatch.context() as patch:
        patch.setattr("service.auth.routes.LATEST", 0)
        refused(await client.login(ada.user["email"]), 503)
    assert len((await ada.get("/auth/sessions")).json["sessions"]) == 1


async def test_login_whose_session_is_not_stored_in_time_gets_503_and_no_session(
    client: Client, db: "asyncpg.Connection", settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await client.sign_up()
    with monkeypatch.context() as patch:
        patch.setattr("service.auth.routes.LATEST", 0.5)
        async with db.transaction():
            await db.execute("LOCK TABLE sessions")
            async with asyncio.timeout(settings.database_statement_timeout - 2):
                refused(await client.login(ada.user["email"]), 503)
            await until(lambda: nothing_waits(db))
    assert len((await ada.get("/auth/sessions")).json["sessions"]) == 1


@pytest.mark.parametrize("left", [False, True], ids=["database away", "client left"])
async def test_login_that_was_not_judged_does_not_count_as_a_failed_one(
    database_url: str, tmp_path: Path, db: "asyncpg.Connection", left: bool
) -> None:
    limits = {"ratelimit_login": "", "ratelimit_login_account": "3/hour"}
    settings = make_settings(
        database_url=database_url,
        data_dir=tmp_path,
        database_statement_timeout=0.2,
        ratelimit_enabled=True,
        **limits,
    )
    async with running(settings) as app:
        client = Client(app)
        await client.register("ada@example.com")
        async with db.transaction():
            await db.execute("LOCK TABLE users")
            for _ in range(4):
                login = asyncio.create_task(client.login("ada@example.com"))
                if left:
                    await until(lambda: is_waiting(db))
                    login.cancel()
                    await asyncio.wait([login])
                else:
                    refused(await login, 503)
        assert (await client.login("ada@example.com")).status == 200


async def is_waiting(db: "asyncpg.Connection") -> bool:
    """Whether a statement waits for a lock in this database."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return bool(await db.fetchval(waiting))


async def nothing_waits(db: "asyncpg.Connection") -> bool:
    """Whether no statement waits for a lock in this database."""
    return not await is_waiting(db)
