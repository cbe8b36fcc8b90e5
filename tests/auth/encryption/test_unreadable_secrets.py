"""An authenticator app whose encryption key is missing is unavailable, and never off."""

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest
from structlog.testing import capture_logs

from service.settings import Settings
from service.testing.application import make_settings, running
from service.web.server.application import Service
from tests.support import second_factor
from tests.support.client import Client, refused
from tests.support.stored_secrets import NEW, OLD, encryption, encryption_keys

UNREADABLE = "A secret of this account cannot be read at present; try again later"


def with_keys(settings: Settings, *keys: bytes) -> Settings:
    """The settings of the application under test, with these encryption keys."""
    return make_settings(
        database_url=settings.database_dsn,
        data_dir=settings.data_dir,
        encryption_keys=encryption_keys(*keys),
    )


@pytest.fixture
async def without_key(settings: Settings) -> AsyncIterator[Service]:
    """Another process, which lacks the key that the application under test encrypts with."""
    async with running(with_keys(settings, NEW)) as app:
        yield app


async def begin_login(client: Client, app: Service) -> tuple[Client, str]:
    """A login at an application that waits for its second factor."""
    visitor = Client(app)
    answer = await visitor.login(client.user["email"])
    assert answer.status == 403
    login_token: str = answer.json["login_token"]
    return visitor, login_token


async def test_code_of_an_app_whose_key_is_missing_is_503_and_the_factor_stays_on(
    client: Client, without_key: Service, db: "asyncpg.Connection"
) -> None:
    ada = await client.sign_up()
    app = await second_factor.turn_on(ada)
    visitor, login_token = await begin_login(ada, without_key)
    for code in (app.code(), app.wrong_code()):
        body = {"login_token": login_token, "code": code}
        with capture_logs() as logged:
            answer = await visitor.post("/auth/login/second-factor", body)
        refused(answer, 503, UNREADABLE)
        assert answer.headers["Retry-After"] == "60"
        (line,) = (line for line in logged if line["event"] == "secret not decrypted")
        assert (line["log_level"], line["user_id"]) == ("error", ada.user["id"])
    # Nothing was counted as wrong, and the login token is still good where the key is.
    assert await db.fetchval("SELECT count(*) FROM code_locks WHERE failures > 0") == 0
    assert await db.fetchval("SELECT second_factor_at IS NOT NULL FROM users")
    visitor = Client(ada.app)
    body = {"login_token": login_token, "code": app.code()}
    assert (await visitor.post("/auth/login/second-factor", body)).status == 200


async def test_recovery_code_signs_in_while_the_key_is_missing(
    client: Client, without_key: Service
) -> None:
    ada = await client.sign_up()
    app = await second_factor.turn_on(ada)
    visitor, login_token = await begin_login(ada, without_key)
    body = {"login_token": login_token, "recovery_code": app.recovery_codes[0]}
    assert (await visitor.post("/auth/login/second-factor", body)).status == 200


async def test_setup_whose_key_is_missing_is_503(client: Client, without_key: Service) -> None:
    ada = await client.sign_up()
    await second_factor.verify_email(ada)
    app = await second_factor.begin(ada)
    elsewhere = Client(without_key, ada.token)
    answer = await elsewhere.post("/auth/totp/confirm", {"code": app.code()})
    refused(answer, 503, UNREADABLE)
    assert (await ada.post("/auth/totp/confirm", {"code": app.code()})).status == 200


async def test_confirmed_app_is_encrypted_with_the_first_key(
    client: Client, settings: Settings, db: "asyncpg.Connection"
) -> None:
    ada = await client.sign_up()
    await second_factor.verify_email(ada)
    app = await second_factor.begin(ada)
    secret = encryption(OLD).encrypt("totp", UUID(ada.user["id"]), app.secret)
    await db.execute("UPDATE totp_setups SET secret = $1", secret)
    async with running(with_keys(settings, NEW, OLD)) as rotated:
        await second_factor.confirm(Client(rotated, ada.token), app)
    # No row of the old key comes after the last that `service reencrypt` saw.
    assert await db.fetchval("SELECT substr(secret, 1, 4) FROM totps") == encryption(NEW).key_ids[0]
