"""`service demo`."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from service.settings import Settings
from service.web.server.application import Service
from tests.support.client import Client
from tests.support.command import Invoke


async def demo(invoke: Invoke, settings: Settings, users: int, posts: int) -> str:
    """Run it, and return the password that it tells."""
    arguments = ("demo", f"--users={users}", f"--posts={posts}")
    result = await asyncio.to_thread(invoke, *arguments, database_url=settings.database_dsn)
    assert result.exit_code == 0, result.output
    found = re.search(r"Log in as demo@example.com with the password (\S+)\n", result.stdout)
    assert found, result.output
    return found[1]


async def test_demo_adds_exactly_so_many_users_and_posts_each_time(
    invoke: Invoke, settings: Settings, db: "asyncpg.Connection[Any]", client: Client
) -> None:
    await demo(invoke, settings, 50, 5_100)
    await demo(invoke, settings, 20, 10)
    assert await db.fetchval("SELECT count(*) FROM users") == 71  # and the one to log in as
    assert await db.fetchval("SELECT count(*) FROM posts") == 5_110
    page = (await client.get("/api/posts?per_page=1")).json
    assert page["total"] == 5_110


async def test_demo_login_works_although_its_name_is_taken(
    invoke: Invoke, settings: Settings, app: Service
) -> None:
    await Client(app).register(username="Demo")
    await demo(invoke, settings, 0, 0)
    password = await demo(invoke, settings, 0, 3)
    client = Client(app)
    assert (await client.login("demo@example.com", password)).status == 200
    posts = (await client.get("/api/posts")).json["posts"]
    assert {post["author"] for post in posts} == {client.user["username"]}


async def test_demo_times_agree_with_ids_and_spread_over_the_past(
    invoke: Invoke, settings: Settings, db: "asyncpg.Connection[Any]"
) -> None:
    await demo(invoke, settings, 30, 400)
    rows = await db.fetch(
        "SELECT p.id, p.created_at, u.id AS author, u.created_at AS since"
        " FROM posts p JOIN users u ON u.id = p.author_id ORDER BY p.id"
    )
    times = [row["created_at"] for row in rows]
    assert times[-1] - times[0] > timedelta(days=600)
    assert times[-1] <= datetime.now(UTC)
    for row in rows:
        assert row["since"] <= row["created_at"]
        for name, moment in (("id", "created_at"), ("author", "since")):
            assert row[name].version == 7
            assert row[name].int >> 80 == int(row[moment].timestamp() * 1000)
    milliseconds = [row["id"].int >> 80 for row in rows]
    assert milliseconds == sorted(milliseconds)
