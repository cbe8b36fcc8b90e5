"""SQLite files: whatever they hold, and while the Flask service uses them."""

import asyncio
import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.settings import Settings
from tests.support.command import Invoke
from tests.support.flask_import import run_import
from tests.support.flask_service import an_id, fill, post, user

# SQLite takes anything: statement, table, number of the row, reason.
ODD_VALUES: dict[str, tuple[str, str, str]] = {
    "title = 'a' || char(0) || 'b'": ("posts", "title", "must not contain the character U+0000"),
    "title = CAST(X'61FF62' AS TEXT)": ("posts", "title", "is no text"),
    "content = X'616263'": ("posts", "content", "is no text"),
    "created_at = 'yesterday'": ("posts", "created_at", "is no time"),
    "created_at = 1700000000": ("posts", "created_at", "is no time"),
    "created_at = '2023-02-30 10:00:00.000000'": ("posts", "created_at", "is no time"),
    "created_at = '0001-01-01 00:00:00+05:00'": ("posts", "created_at", "is no time"),
    "title = printf('%0201d', 0)": ("posts", "title", "has more than 200 characters"),
    "email = printf('%0250d', 0) || '@b.de'": ("users", "email", "has more than 254 characters"),
    "username = printf('%081d', 0)": ("users", "username", "has more than 80 characters"),
    "password_hash = printf('%0256d', 0)": (
        "users",
        "password_hash",
        "has more than 255 characters",
    ),
    "is_active = 'maybe'": ("users", "is_active", "is neither true nor false"),
    "is_admin = 2": ("users", "is_admin", "is neither true nor false"),
}


def alter(url: str, *statements: str) -> None:
    """Run statements that Flask-SQLAlchemy would not."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        for statement in statements:
            connection.execute(statement)


async def test_odd_sqlite_values_are_refused_by_name(
    invoke: Invoke, settings: Settings, sqlite_url: str
) -> None:
    numbers = range(len(ODD_VALUES) + 1)
    users = [user(number) for number in numbers]
    posts = [post(number, author=0) for number in numbers]
    await asyncio.to_thread(fill, sqlite_url, users, posts)
    changes, expected = [], {}
    for number, (change, (table, field, reason)) in enumerate(ODD_VALUES.items(), 1):
        row_id = an_id(table.removesuffix("s"), number)
        changes.append(f"UPDATE {table} SET {change} WHERE id = '{row_id}'")
        expected[table, row_id] = f"{field} {reason}"
    await asyncio.to_thread(alter, sqlite_url, *changes)
    done = await run_import(invoke, settings, sqlite_url)
    assert done.refused == expected
    assert done.code == 2
    assert done.counts == {"users": (14, 9, 0, 5), "posts": (14, 6, 0, 8)}


async def test_sqlite_ids_that_are_no_texts_are_refused(
    invoke: Invoke, settings: Settings, sqlite_url: str
) -> None:
    await asyncio.to_thread(fill, sqlite_url, [user(number) for number in range(2)], [])
    # As a table made by hand might be: SQLite lets even a primary key be NULL.
    await asyncio.to_thread(
        alter,
        sqlite_url,
        "CREATE TABLE loose AS SELECT * FROM users",
        "DROP TABLE users",
        "ALTER TABLE loose RENAME TO users",
        f"UPDATE users SET id = NULL WHERE id = '{an_id('user', 0)}'",
        f"UPDATE users SET id = X'FF00' WHERE id = '{an_id('user', 1)}'",
    )
    done = await run_import(invoke, settings, sqlite_url)
    reasons = {row_id: reason for (_, row_id), reason in done.refused.items()}
    assert reasons == {None: "id is missing", "b'\\xff\\x00'": "id is no UUID of 36 characters"}


@pytest.mark.parametrize(
    ("stored", "moment"),
    [
        ("2024-02-29 23:59:59", "2024-02-29T23:59:59+00:00"),
        ("2024-02-29T23:59:59.5", "2024-02-29T23:59:59.500000+00:00"),
        ("2024-02-29 23:59:59.000001+02:00", "2024-02-29T21:59:59.000001+00:00"),
        ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59+00:00"),
    ],
)
async def test_sqlite_times_in_other_spellings_are_read(
    invoke: Invoke,
    settings: Settings,
    db: "asyncpg.Connection[Any]",
    sqlite_url: str,
    stored: str,
    moment: str,
) -> None:
    await asyncio.to_thread(fill, sqlite_url, [user(1)], [])
    await asyncio.to_thread(alter, sqlite_url, f"UPDATE users SET created_at = '{stored}'")
    assert (await run_import(invoke, settings, sqlite_url)).code == 0
    assert (await db.fetchval("SELECT created_at FROM users")).isoformat() == moment


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
async def test_sqlite_file_in_use_is_read_and_left_as_it_is(
    invoke: Invoke, settings: Settings, sqlite_url: str, mode: str
) -> None:
    await asyncio.to_thread(fill, sqlite_url, [user(1)], [])
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(path)) as flask:
        assert flask.execute(f"PRAGMA journal_mode = {mode}").fetchone() == (mode.lower(),)
        flask.execute("UPDATE users SET username = 'committed'")
        flask.commit()
        flask.execute("UPDATE users SET username = 'under way'")
        before = hashlib.sha256(path.read_bytes()).digest()
        done = await run_import(invoke, settings, sqlite_url)
        assert done.counts["users"] == (1, 1, 0, 0)
        assert hashlib.sha256(path.read_bytes()).digest() == before
        flask.commit()


async def test_read_only_sqlite_copy_is_read(
    invoke: Invoke, settings: Settings, sqlite_url: str
) -> None:
    await asyncio.to_thread(fill, sqlite_url, [user(1)], [])
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(path)) as flask:
        flask.execute("PRAGMA journal_mode = WAL")
    # In their place the log's files can't be made, not even by root.
    path.with_name("old.db-shm").mkdir()
    assert (await run_import(invoke, settings, sqlite_url)).counts["users"] == (1, 1, 0, 0)


async def test_sqlite_path_may_be_relative_absolute_or_plain(
    invoke: Invoke, settings: Settings, sqlite_url: str, tmp_path: Path
) -> None:
    await asyncio.to_thread(fill, sqlite_url, [user(1)], [])
    path = tmp_path / "old.db"
    for url in ("sqlite:///old.db", f"sqlite+pysqlite:///{path}?timeout=5", "old.db", str(path)):
        assert (await run_import(invoke, settings, url)).code == 0, url
