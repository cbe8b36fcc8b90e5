"""The counter of posts is exact, also after the migration to soft deletion and back."""

from datetime import UTC, datetime

import asyncpg

from service.ids import new_id
from tests.support.migrating import migrate

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def add_user(db: "asyncpg.Connection", email: str) -> object:
    statement = "INSERT INTO users (id, email, username, password_hash) VALUES ($1, $2, $2, 'x')"
    user_id = new_id()
    await db.execute(statement, user_id, email)
    return user_id


async def add_post(db: "asyncpg.Connection", author: object) -> None:
    statement = "INSERT INTO posts (id, author_id, title, content) VALUES ($1, $2, 't', 'c')"
    await db.execute(statement, new_id(), author)


async def count(db: "asyncpg.Connection") -> object:
    return await db.fetchval("SELECT sum(posts)::int FROM post_counts")


async def test_post_counter_follows_every_way_of_hiding_and_showing(
    db: "asyncpg.Connection",
) -> None:
    author = await add_user(db, "a@example.com")
    for _ in range(3):
        await add_post(db, author)
    assert await count(db) == 3
    one = await db.fetchval("SELECT min(id::text)::uuid FROM posts")
    await db.execute("UPDATE posts SET title = 'other'")
    assert await count(db) == 3
    await db.execute("UPDATE posts SET deleted_at = $2 WHERE id = $1", one, NOW)
    assert await count(db) == 2
    await db.execute("UPDATE posts SET deleted_at = now()")
    assert await count(db) == 0
    await db.execute("UPDATE posts SET deleted_at = NULL WHERE id = $1", one)
    assert await count(db) == 1
    await db.execute("DELETE FROM posts WHERE deleted_at IS NOT NULL")
    assert await count(db) == 1
    await db.execute("DELETE FROM users")
    assert await count(db) == 0


async def test_downgrade_and_upgrade_keep_posts_that_are_not_deleted(
    database_url: str, db: "asyncpg.Connection"
) -> None:
    kept, gone = await add_user(db, "kept@example.com"), await add_user(db, "gone@example.com")
    for author in (kept, kept, gone):
        await add_post(db, author)
    await db.execute("UPDATE users SET deleted_at = $2 WHERE id = $1", gone, NOW)
    await migrate(database_url, "0001", down=True)
    assert [row["id"] for row in await db.fetch("SELECT id FROM users")] == [kept]
    assert await count(db) == 2
    await db.execute("DELETE FROM posts WHERE id = (SELECT id FROM posts LIMIT 1)")
    assert await count(db) == 1
    await migrate(database_url, "head")
    await add_post(db, kept)
    assert await count(db) == 2
    await db.execute("UPDATE posts SET deleted_at = now()")
    assert await count(db) == 0
