"""Common passwords are refused in production and accepted elsewhere, unless the setting is set."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.accounts.schemas import Registration
from service.testing.application import make_settings, running
from service.testing.client import PASSWORD
from tests.support.client import Client, faults
from tests.support.command import PRODUCTION

COMMON = "password123"
REFUSED = {"password": ["This field is one of the most common passwords"]}

ClientIn = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def client_in(database_url: str, tmp_path: Path) -> ClientIn:
    """A client of an application in this environment, with these settings."""

    @asynccontextmanager
    async def serve(environment: str, **values: object) -> AsyncIterator[Client]:
        given = {"service_env": environment, "database_url": database_url, "data_dir": tmp_path}
        settings = make_settings(**{**PRODUCTION, **given, **values})
        async with running(settings) as app:
            yield Client(app)

    return serve


async def test_production_refuses_common_passwords_in_any_case(client_in: ClientIn) -> None:
    async with client_in("production") as client:
        for password in (COMMON, "password", "PassWord1", "12345678", "QWERTYUIOP"):
            answer = await client.register(password=password)
            assert (answer.status, answer.json["errors"]) == (400, REFUSED)
        assert (await client.register()).status == 201


@pytest.mark.parametrize("environment", ["development", "testing"])
async def test_common_password_is_accepted_outside_of_production(
    client_in: ClientIn, environment: str
) -> None:
    async with client_in(environment) as client:
        answer = await client.register("ada@example.com", password=COMMON)
        assert answer.status == 201
        assert (await client.login("ada@example.com", COMMON)).status == 200


@pytest.mark.parametrize(
    ("environment", "refuse", "status"), [("production", False, 201), ("development", True, 400)]
)
async def test_setting_wins_over_the_environment(
    client_in: ClientIn, environment: str, refuse: bool, status: int
) -> None:
    async with client_in(environment, refuse_common_passwords=refuse) as client:
        assert (await client.register(password=COMMON)).status == status


async def test_common_password_is_reported_with_every_other_invalid_field(
    client_in: ClientIn,
) -> None:
    async with client_in("production") as client:
        answer = await client.register("nobody", password=COMMON, username="?")
        assert faults(answer) == {"email", "password", "username"}


async def test_password_is_not_changed_to_a_common_one(client_in: ClientIn) -> None:
    async with client_in("production") as client:
        member = await client.sign_up()
        change = {"current_password": PASSWORD, "new_password": COMMON}
        answer = await member.put("/auth/password", change)
        assert faults(answer) == {"new_password"}


def test_common_password_is_refused_outside_of_a_request() -> None:
    with pytest.raises(ValidationError, match="most common"):
        Registration(email="ada@example.com", password=COMMON)
