"""`service create-admin`, and the list of failed jobs, as an operator runs them."""

import asyncio

import asyncpg
import pytest
from click.testing import CliRunner

from service.cli import database, main
from service.testing.client import PASSWORD
from tests.support.client import Client
from tests.support.command import PRODUCTION


@pytest.fixture(autouse=True)
def _keep_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    # The log is this process' own, not the command's.
    monkeypatch.setattr(database, "configure_logging", lambda _settings: None)


async def service(database_url: str, *arguments: str, stdin: str | bytes = "") -> tuple[int, str]:
    """Run the command, in a thread with a loop of its own; its exit code and what it wrote."""
    environment = {
        name.upper(): value for name, value in (PRODUCTION | {"database_url": database_url}).items()
    }
    result = await asyncio.to_thread(
        CliRunner().invoke, main, arguments, input=stdin, env=environment
    )
    return result.exit_code, result.output


async def test_create_admin_creates_an_account(
    client: Client, database_url: str, db: asyncpg.Connection
) -> None:
    code, said = await service(
        database_url, "create-admin", "Root@example.com", stdin=f"{PASSWORD}\nmore\n"
    )
    assert (code, said) == (0, "Made the administrator Root@example.com, with the username Root.\n")
    assert (await client.login("root@example.com")).status == 200
    assert await db.fetchval("SELECT is_admin FROM users")
    kinds = await db.fetch("SELECT kind, actor_id FROM security_events ORDER BY created_at LIMIT 3")
    expected = ["account.registered", "admin.granted", "email.verified"]
    assert [row["kind"] for row in kinds] == expected
    assert (kinds[1]["actor_id"], kinds[2]["actor_id"]) == (None, None)
    # Who has the terminal vouches for the address.
    assert client.user["email_verified"] is True
    assert await db.fetchval("SELECT count(*) FROM mail_links") == 0


async def test_byte_order_mark_before_a_piped_password_is_no_part_of_it(
    client: Client, database_url: str
) -> None:
    code, said = await service(
        database_url,
        "create-admin",
        "root@example.com",
        stdin=f"{PASSWORD}é\r\n".encode("utf-8-sig"),
    )
    assert code == 0, said
    assert (await client.login("root@example.com", f"{PASSWORD}é")).status == 200


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
async def test_piped_password_in_another_encoding_than_utf_8_is_refused(
    database_url: str, encoding: str
) -> None:
    stdin = f"{PASSWORD}é\n".encode(encoding)
    code, said = await service(database_url, "create-admin", "root@example.com", stdin=stdin)
    assert code == 1
    assert said.rstrip() == "Error: The password on standard input is not UTF-8."
    assert PASSWORD not in said


async def test_create_admin_promotes_an_account(
    client: Client, database_url: str, db: asyncpg.Connection
) -> None:
    await client.register(email="ann@example.com")
    code, said = await service(database_url, "create-admin", "ANN@example.com")
    assert (code, said) == (0, "ann@example.com is an administrator now.\n")
    code, said = await service(database_url, "create-admin", "ann@example.com")
    assert (code, said) == (0, "ann@example.com is an administrator already.\n")
    granted = "SELECT count(*) FROM security_events WHERE kind = 'admin.granted'"
    assert await db.fetchval(granted) == 1
    verified = "SELECT count(*) FROM security_events WHERE kind = 'email.verified'"
    assert await db.fetchval(verified) == 1
    # The password is still the owner's.
    assert (await client.login("ann@example.com")).status == 200
    await db.execute("UPDATE users SET is_active = false")
    code, said = await service(database_url, "create-admin", "ann@example.com")
    assert code == 1
    assert "disabled" in said


async def test_create_admin_refuses_wrong_values(
    client: Client, database_url: str, db: asyncpg.Connection
) -> None:
    code, said = await service(database_url, "create-admin", "nobody", stdin="short\n")
    assert code == 1
    assert "email: is not an email address" in said
    assert "password: " in said
    assert "short\n" not in said
    assert await db.fetchval("SELECT count(*) FROM users") == 0


async def test_failed_jobs_are_listed_and_retried(
    client: Client, database_url: str, db: asyncpg.Connection
) -> None:
    assert await service(database_url, "jobs") == (0, "No job has failed.\n")
    await client.register()
    await db.execute("UPDATE pgqueuer SET status = 'failed'")
    await db.execute(
        "INSERT INTO pgqueuer_log (job_id, status, priority, entrypoint, traceback) "
        "SELECT id, 'failed', 0, entrypoint, $1 FROM pgqueuer",
        '{"exception_type": "Undeliverable", "exception_message": "no such\\nuser"}',
    )
    code, said = await service(database_url, "jobs", "--retry")
    assert code == 0
    assert "mail link  Undeliverable: no such user\nThey are tried again.\n" in said
    assert await db.fetchval("SELECT status::text FROM pgqueuer") == "queued"


async def test_jobs_that_are_tried_again_are_listed_and_hurried(
    client: Client, database_url: str, db: asyncpg.Connection
) -> None:
    await client.register()
    await db.execute(
        "UPDATE pgqueuer SET attempts = 3, execute_after = timestamptz '2100-01-01 10:00Z'"
    )
    await db.execute(
        "INSERT INTO pgqueuer_log (job_id, status, priority, entrypoint, traceback) "
        "SELECT id, 'queued', 0, entrypoint, $1 FROM pgqueuer",
        '{"additional_context": {"reason": "no\\nTLS: see SMTP_TLS"}}',
    )
    code, said = await service(database_url, "jobs")
    assert code == 0
    assert "mail link  no TLS: see SMTP_TLS (tried 3 times, again at 2100-01-01 10:00" in said
    code, said = await service(database_url, "jobs", "--retry")
    assert said.endswith("They are tried again.\n")
    assert await db.fetchval("SELECT execute_after <= now() FROM pgqueuer")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("email = 'new@example.com', email_key = 'new@example.com'", "changed meanwhile"),
        ("deleted_at = now()", "changed meanwhile"),
        ("is_active = false", "is disabled"),
    ],
)
async def test_create_admin_promotes_no_account_that_changes_meanwhile(
    client: Client, database_url: str, db: asyncpg.Connection, change: str, said: str
) -> None:
    await client.register(email="ann@example.com")
    async with db.transaction():
        await db.execute(f"UPDATE users SET {change}")
        # Finds the account as it was, and waits for its lock.
        command = asyncio.create_task(service(database_url, "create-admin", "ann@example.com"))
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while not command.done() and not await db.fetchval(
            f"{waiting} AND datname = current_database()"
        ):
            await db.execute("SELECT pg_stat_clear_snapshot()")
            await asyncio.sleep(0.05)
    code, output = await command
    assert code == 1, output
    assert said in output
    row = await db.fetchrow("SELECT is_admin, email_verified_at FROM users")
    assert row is not None
    assert tuple(row) == (False, None)
