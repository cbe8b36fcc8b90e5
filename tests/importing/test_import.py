"""`service import-flask`, from SQLite and PostgreSQL databases that Flask-SQLAlchemy made."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from service.settings import Settings
from tests.support.client import Client
from tests.support.command import Invoke
from tests.support.flask_import import everything, run_import
from tests.support.flask_service import PASSWORD, QUICK_HASHES, an_id, fill, post, user


def aware(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the Flask service as it should be here."""
    return {
        name: UUID(value)
        if name in {"id", "user_id"}
        else value.replace(tzinfo=UTC)
        if isinstance(value, datetime)
        else value
        for name, value in row.items()
    }


async def test_rows_are_imported_as_they_were(
    invoke: Invoke, settings: Settings, client: Client, db: "asyncpg.Connection[Any]", old_url: str
) -> None:
    users = [user(1, is_admin=True), user(2, is_active=False), user(3)]
    posts = [post(number, author=1 + number % 3) for number in range(2_300)]
    await asyncio.to_thread(fill, old_url, users, posts)
    done = await run_import(invoke, settings, old_url)
    assert (done.code, done.refused) == (0, {}), done.output
    assert done.counts == {"users": (3, 3, 0, 0), "posts": (2_300, 2_300, 0, 0)}
    names = ", ".join(users[0])
    here = [dict(row) for row in await db.fetch(f"SELECT {names} FROM users ORDER BY created_at")]
    assert here == [aware(row) for row in users]
    assert await db.fetchval("SELECT count(*) FROM users WHERE email_verified_at IS NULL") == 3
    names = ", ".join(posts[0]).replace("user_id", "author_id AS user_id")
    here = [dict(row) for row in await db.fetch(f"SELECT {names} FROM posts ORDER BY created_at")]
    assert here == [aware(row) for row in posts]
    page = (await client.get("/api/posts?per_page=1")).json
    assert page["total"] == 2_300
    newest = page["posts"][0]
    assert (newest["id"], newest["version"]) == (an_id("post", 2_299), 1)
    assert newest["created_at"] == "2019-03-31T12:38:19.123456Z"
    own = (await client.get("/api/posts", query_string={"author": "user 1"})).json
    assert own["total"] == 767


async def test_repeated_import_adds_only_what_is_missing(
    invoke: Invoke, settings: Settings, client: Client, db: "asyncpg.Connection[Any]", old_url: str
) -> None:
    users = [user(number) for number in range(3)]
    posts = [post(number, author=number % 3) for number in range(30)]
    await asyncio.to_thread(fill, old_url, users, posts)
    await run_import(invoke, settings, old_url)
    first, second = Client(client.app), Client(client.app)
    assert (await first.login("user0@example.com", PASSWORD)).status == 200
    assert (await first.patch("/auth/me", {"username": "renamed"})).status == 200
    changed, deleted = (f"/api/posts/{an_id('post', number)}" for number in (0, 3))
    assert (await first.put(changed, {"title": "Changed here"})).status == 200
    assert (await first.delete(deleted)).status == 204
    assert (await second.login("user1@example.com", PASSWORD)).status == 200
    assert (await second.delete("/auth/me", {"password": PASSWORD})).status == 204
    before = await everything(db)

    again = await run_import(invoke, settings, old_url)
    assert (again.code, again.refused) == (0, {}), again.output
    assert again.counts == {"users": (3, 0, 3, 0), "posts": (30, 0, 30, 0)}
    assert await everything(db) == before

    # Meanwhile the Flask service goes on, also for the account that was deleted here.
    more = [post(100, author=0), post(101, author=1), post(102, author=9)]
    await asyncio.to_thread(fill, old_url, [user(9)], more)
    third = await run_import(invoke, settings, old_url)
    assert (third.code, third.refused) == (0, {}), third.output
    assert third.counts == {"users": (4, 1, 3, 0), "posts": (33, 3, 30, 0)}
    after = await everything(db)
    for table in ("users", "posts"):
        assert [row for row in before[table] if row not in after[table]] == []
    shown = {each["id"] for each in (await client.get("/api/posts?per_page=100")).json["posts"]}
    assert {an_id("post", 100), an_id("post", 102)} <= shown
    assert an_id("post", 101) not in shown
    assert (await client.get("/api/posts")).json["total"] == len(shown)


DIRTY_USERS = [
    user(0),
    user(10, email="USER0@example.com"),
    user(11, username="USER 0"),
    user(12),  # registers here before it is imported
    user(13, email="  "),
    user(14, username="\t"),
    user(15, id="15"),
    user(16, created_at=None, updated_at=None),
    user(17, updated_at=None, is_active=None, is_admin=None),
    user(18, password_hash="md5$of$old"),
    user(19, id=an_id("user", 19).upper()),
    user(20, id="{" + an_id("user", 20)[:34] + "}"),
]
DIRTY_POSTS = [
    post(0, author=0),
    post(1, author=10),
    post(2, author=99),
    post(3, author=0, user_id=None),
    post(4, author=0, user_id="15"),
    post(5, author=0, title=" \n"),
    post(6, author=0, content=""),
    post(7, author=0, content="x" * 100_001, title=""),
    post(8, author=0, id="8"),
    post(9, author=0, created_at=None),
    post(10, author=17, content="🙂" * 100_000, updated_at=None),
    post(11, author=19, user_id=an_id("user", 19).upper()),
]


async def test_rows_that_cannot_be_imported_are_reported(
    invoke: Invoke, settings: Settings, client: Client, db: "asyncpg.Connection[Any]", old_url: str
) -> None:
    await asyncio.to_thread(fill, old_url, DIRTY_USERS, DIRTY_POSTS)
    newcomer = (await client.register("User12@example.com", username="newcomer")).json["id"]
    expected = {
        ("users", an_id("user", 10)): f"email: the account {an_id('user', 0)} has it",
        ("users", an_id("user", 11)): f"username: the account {an_id('user', 0)} has it",
        ("users", an_id("user", 12)): f"email: the account {newcomer} has it",
        ("users", an_id("user", 13)): "email must not be blank",
        ("users", an_id("user", 14)): "username must not be blank",
        ("users", "15"): "id is no UUID of 36 characters",
        ("users", an_id("user", 16)): "created_at is missing; updated_at is missing",
        ("users", "{" + an_id("user", 20)[:34] + "}"): "id is no UUID of 36 characters",
        ("posts", an_id("post", 1)): f"user_id: there is no account {an_id('user', 10)} here",
        ("posts", an_id("post", 3)): "user_id is missing",
        ("posts", an_id("post", 4)): "user_id is no UUID of 36 characters",
        ("posts", an_id("post", 2)): f"user_id: there is no account {an_id('user', 99)} here",
        ("posts", an_id("post", 5)): "title must not be blank",
        ("posts", an_id("post", 6)): "content must not be blank",
        ("posts", an_id("post", 7)): (
            "title must not be blank; content has more than 100,000 characters"
        ),
        ("posts", "8"): "id is no UUID of 36 characters",
        ("posts", an_id("post", 9)): "created_at is missing",
    }
    before = await everything(db)
    rehearsed = await run_import(invoke, settings, old_url, "--dry-run")
    assert await everything(db) == before
    assert (rehearsed.code, rehearsed.refused) == (2, expected)

    done = await run_import(invoke, settings, old_url)
    assert (done.code, done.refused) == (2, expected)
    assert done.counts == rehearsed.counts == {"users": (12, 4, 0, 8), "posts": (12, 3, 0, 9)}
    assert "17 rows could not be taken: " in done.output
    after = await everything(db)
    here = {str(row["id"]): row for row in after["users"]}
    assert set(here) == {newcomer, *(an_id("user", number) for number in (0, 17, 18, 19))}
    unset = here[an_id("user", 17)]
    assert unset["updated_at"] == unset["created_at"]
    # The Flask service took an unset is_active for false.
    assert (unset["is_active"], unset["is_admin"]) == (False, False)
    assert {str(row["id"]) for row in after["posts"]} == {an_id("post", n) for n in (0, 10, 11)}

    again = await run_import(invoke, settings, old_url)
    assert (again.code, again.refused) == (2, expected)
    assert again.counts == {"users": (12, 0, 4, 8), "posts": (12, 0, 3, 9)}
    assert await everything(db) == after
    for secret in [*QUICK_HASHES.values(), "md5$of$old", "User12@"]:
        assert secret not in done.output
        assert secret not in (settings.data_dir / "report.jsonl").read_text()


async def test_post_whose_id_is_written_in_two_ways_is_imported_once(
    invoke: Invoke, settings: Settings, db: "asyncpg.Connection[Any]", old_url: str
) -> None:
    twice = [post(1, 0), post(1, 0, id=an_id("post", 1).upper()), post(2, 0)]
    await asyncio.to_thread(fill, old_url, [user(0)], twice)
    done = await run_import(invoke, settings, old_url)
    assert (done.code, done.refused) == (0, {}), done.output
    assert done.counts == {"users": (1, 1, 0, 0), "posts": (3, 2, 1, 0)}
    assert await db.fetchval("SELECT sum(posts) FROM post_counts") == 2
    assert await db.fetchval("SELECT count(*) FROM posts") == 2
