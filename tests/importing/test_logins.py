"""Imported people log in with their old passwords, over HTTP."""

import asyncio
from typing import Any

import asyncpg
import pytest
from werkzeug.security import generate_password_hash

from service.settings import Settings
from tests.support.client import Client, refused
from tests.support.command import Invoke
from tests.support.flask_import import run_import
from tests.support.flask_service import PASSWORD, an_id, fill, post, user

HASH = "SELECT password_hash FROM users"


# Werkzeug's default, and one of old: that of today costs half a second each time.
@pytest.mark.parametrize("method", ["scrypt", "pbkdf2:sha256:150000"])
async def test_imported_password_logs_in_and_its_hash_becomes_argon2id(
    invoke: Invoke,
    settings: Settings,
    client: Client,
    db: "asyncpg.Connection[Any]",
    old_url: str,
    method: str,
) -> None:
    hashed = await asyncio.to_thread(generate_password_hash, PASSWORD, method)
    await asyncio.to_thread(fill, old_url, [user(1, password_hash=hashed)], [])
    assert (await run_import(invoke, settings, old_url)).code == 0
    refused(await client.login("user1@example.com", "Hunter2"), 401, "Invalid credentials")
    assert await db.fetchval(HASH) == hashed
    assert (await client.login("user1@example.com", PASSWORD)).status == 200
    rewritten = await db.fetchval(HASH)
    assert rewritten.startswith("$argon2id$")
    # Run again, the import does not bring the old hash back.
    assert (await run_import(invoke, settings, old_url)).code == 0
    assert await db.fetchval(HASH) == rewritten
    assert (await client.login("USER1@example.com", PASSWORD)).status == 200
    assert client.user["email_verified"] is False
    written = await client.post("/api/posts", {"title": "Here", "content": "At last"})
    assert (written.status, written.json["author"]) == (201, "user 1")


async def test_imported_accounts_stay_disabled_or_administrators(
    invoke: Invoke, settings: Settings, client: Client, sqlite_url: str
) -> None:
    await asyncio.to_thread(
        fill, sqlite_url, [user(1, is_active=False), user(2, is_admin=True)], []
    )
    assert (await run_import(invoke, settings, sqlite_url)).code == 0
    refused(await client.login("user1@example.com", PASSWORD), 403, "Account disabled")
    assert (await client.login("user2@example.com", PASSWORD)).status == 200
    assert (await client.get("/admin/users")).status == 200


async def test_imported_address_in_another_normal_form_logs_in(
    invoke: Invoke, settings: Settings, client: Client, sqlite_url: str
) -> None:
    decomposed = "zoe\u0308@example.com"
    await asyncio.to_thread(fill, sqlite_url, [user(1, email=decomposed)], [])
    assert (await run_import(invoke, settings, sqlite_url)).code == 0
    assert (await client.login(decomposed, PASSWORD)).status == 200
    assert (await client.login("zo\u00eb@example.com", PASSWORD)).status == 200


async def test_email_in_two_spellings_is_imported_once(
    invoke: Invoke, settings: Settings, client: Client, sqlite_url: str
) -> None:
    users = [
        user(1, email="ida@ex\u00e4mple.de", username="ida"),
        user(2, email="IDA@xn--exmple-cua.de"),
        user(3, username="IDA"),
    ]
    await asyncio.to_thread(fill, sqlite_url, users, [])
    first = an_id("user", 1)
    refused_rows = {
        ("users", an_id("user", 2)): f"email: the account {first} has it",
        ("users", an_id("user", 3)): f"username: the account {first} has it",
    }
    assert (await run_import(invoke, settings, sqlite_url, "--dry-run")).refused == refused_rows
    assert (await run_import(invoke, settings, sqlite_url)).refused == refused_rows
    assert (await client.login("ida@xn--exmple-cua.de", PASSWORD)).status == 200
    assert client.user["email"] == "ida@ex\u00e4mple.de"


async def test_import_sends_no_mail(
    invoke: Invoke, settings: Settings, db: "asyncpg.Connection[Any]", sqlite_url: str
) -> None:
    await asyncio.to_thread(fill, sqlite_url, [user(1)], [post(1, author=1)])
    tables = [
        row["name"]
        for row in await db.fetch(
            "SELECT relname AS name FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace = 'public'::regnamespace"
        )
    ]
    counts = {name: await db.fetchval(f"SELECT count(*) FROM {name}") for name in tables}
    assert (await run_import(invoke, settings, sqlite_url)).code == 0
    # No mail, no security event, no event of the stream.
    for name in ("users", "posts", "author_post_counts"):
        counts[name] += 1
    assert counts == {name: await db.fetchval(f"SELECT count(*) FROM {name}") for name in tables}
