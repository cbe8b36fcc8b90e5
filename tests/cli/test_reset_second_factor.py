"""`service reset-second-factor`, for an operator whose telephone is lost."""

import asyncio
import json

import asyncpg
import pytest
from click.testing import CliRunner

from service.cli import database, main
from service.testing.client import PASSWORD
from tests.support.client import Client
from tests.support.command import PRODUCTION
from tests.support.second_factor import turn_on

NOTICES = "SELECT convert_from(payload, 'UTF8') FROM pgqueuer WHERE entrypoint = 'notice'"


@pytest.fixture(autouse=True)
def _keep_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    # The log is this process' own, not the command's.
    monkeypatch.setattr(database, "configure_logging", lambda _settings: None)


async def reset(database_url: str, email: str) -> tuple[int, str]:
    """Run the command, in a thread with a loop of its own; its exit code and what it wrote."""
    environment = {
        name.upper(): value for name, value in (PRODUCTION | {"database_url": database_url}).items()
    }
    arguments = ["reset-second-factor", email]
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments, env=environment)
    return result.exit_code, result.output


async def test_reset_turns_the_second_factor_off_ends_the_sessions_and_mails_the_owner(
    client: Client, database_url: str, db: asyncpg.Connection
) -> None:
    ann = await client.as_admin("ann@example.com")
    await turn_on(ann)
    code, said = await reset(database_url, "ANN@example.com")
    assert (code, said) == (
        0,
        "Turned the second factor of ann@example.com off, and ended all its sessions.\n",
    )
    assert (await ann.get("/auth/me")).status == 401
    assert (await ann.login("ann@example.com", PASSWORD)).status == 200
    assert (await ann.get("/auth/security")).json["second_factor"] is False
    events = (await ann.get("/admin/events?kind=second_factor.reset")).json["events"]
    assert [(event["user_id"], event["actor_id"]) for event in events] == [(ann.user["id"], None)]
    notices = [json.loads(row[0]) for row in await db.fetch(NOTICES)]
    assert [one["to"] for one in notices if one["notice"] == "second factor reset"] == [
        "ann@example.com"
    ]
    again = await reset(database_url, "ann@example.com")
    assert again == (0, "The second factor of ann@example.com is off already.\n")
    assert (await ann.get("/auth/me")).status == 200


async def test_reset_of_an_unknown_account_fails_and_names_it(
    client: Client, database_url: str
) -> None:
    code, said = await reset(database_url, "nobody@example.com")
    assert (code, said) == (1, "Error: There is no account nobody@example.com.\n")
