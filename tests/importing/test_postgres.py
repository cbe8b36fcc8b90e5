"""What only a PostgreSQL source can hold."""

import asyncio
from typing import Any

import asyncpg

from service.settings import Settings
from tests.support.command import Invoke
from tests.support.flask_import import run_import
from tests.support.flask_service import an_id, fill, post, user


async def test_infinite_times_are_refused_by_the_import(
    invoke: Invoke, settings: Settings, db: "asyncpg.Connection[Any]", empty_url: str
) -> None:
    flask_url = empty_url.replace("postgresql:", "postgresql+psycopg:")
    posts = [post(number, author=0) for number in range(4)]
    await asyncio.to_thread(fill, flask_url, [user(0)], posts)
    old = await asyncpg.connect(empty_url)
    odd = {1: "infinity", 2: "0044-03-15 12:00:00 BC", 3: "12024-01-01 00:00:00"}
    for number, moment in odd.items():
        await old.execute(
            f"UPDATE posts SET created_at = '{moment}' WHERE id = '{an_id('post', number)}'"
        )
    await old.close()
    done = await run_import(invoke, settings, empty_url)
    assert done.refused == {
        ("posts", an_id("post", number)): "created_at is no time" for number in odd
    }
    assert done.counts["posts"] == (4, 1, 0, 3)


async def test_native_postgresql_types_are_imported(
    invoke: Invoke, settings: Settings, db: "asyncpg.Connection[Any]", empty_url: str
) -> None:
    flask_url = empty_url.replace("postgresql:", "postgresql+psycopg:")
    await asyncio.to_thread(fill, flask_url, [user(0)], [post(0, author=0)])
    old = await asyncpg.connect(empty_url)
    await old.execute(
        "ALTER TABLE users ALTER id TYPE uuid USING id::uuid,"
        " ALTER created_at TYPE timestamptz USING created_at AT TIME ZONE 'UTC';"
        "ALTER TABLE posts ALTER user_id TYPE uuid USING user_id::uuid"
    )
    name = await old.fetchval("SELECT current_database()")
    await old.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Kolkata'")
    await old.execute(f"ALTER DATABASE {name} SET datestyle = 'German'")
    await old.close()
    done = await run_import(invoke, settings, empty_url)
    assert (done.code, done.refused) == (0, {}), done.output
    row = await db.fetchrow("SELECT id::text, created_at FROM users")
    assert row is not None
    assert row["id"] == an_id("user", 0)
    assert row["created_at"].isoformat() == "2019-03-01T12:00:00.123456+00:00"


async def test_oldest_account_keeps_a_contested_name(
    invoke: Invoke, settings: Settings, db: "asyncpg.Connection[Any]", old_url: str
) -> None:
    users = [user(1), user(2, email="USER1@example.com"), user(3, username="USER 1")]
    await asyncio.to_thread(fill, old_url, users, [])
    assert (await run_import(invoke, settings, old_url)).code == 2
    assert str(await db.fetchval("SELECT id FROM users")) == an_id("user", 1)
