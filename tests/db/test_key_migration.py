# ruff: noqa: RUF001
"""Migration 0010, which makes the keys of the names that are there."""

import re
import sys
import unicodedata
from runpy import run_path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from service import canonical
from service.db.schema_version import MIGRATIONS
from tests.support.migrating import migrate

NAMES = [
    ("Ida@Example.com", "Ida"),
    ("ida@exämple.de", "Ädä"),
    ("İzel@ｅxample.com", "izel"),
    ("ada@a_b.com", "ada"),
    ("ﷺ" * 254, "ﷺ" * 80),
    ("ida@" + "ﷺ" * 250, "long"),
]
ADD = "INSERT INTO users (id, email, username, password_hash) VALUES ($1, $2, $3, '')"
LINK = (
    "INSERT INTO mail_links (id, user_id, purpose, email, created_at) "
    "SELECT id, id, 'verify-email', email, now() FROM users"
)


def frozen() -> dict[str, Any]:
    """The names in the migration, which has its own copy of the functions."""
    [path] = MIGRATIONS.glob("versions/0010_*.py")
    return run_path(str(path))


async def old_accounts(url: str, *names: tuple[str, str]) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection to a database of the last release, with accounts of these names."""
    await migrate(url, "0009")
    connection = await asyncpg.connect(url)
    for number, (email, username) in enumerate(names, 1):
        await connection.execute(ADD, UUID(int=number), email, username)
    return connection


async def test_migration_makes_the_keys_that_the_service_makes(empty_url: str) -> None:
    connection = await old_accounts(empty_url, *NAMES)
    await connection.execute(LINK)
    await migrate(empty_url, "0010")
    rows = await connection.fetch(
        "SELECT users.*, mail_links.email_key AS link_key FROM users JOIN mail_links USING (id)"
    )
    assert len(rows) == len(NAMES)
    for row in rows:
        assert row["email_key"] == row["link_key"] == canonical.email_key(row["email"])
        assert row["username_key"] == canonical.username_key(row["username"])
    await migrate(empty_url, "0009", down=True)
    await connection.close()


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (
            [("ida@exämple.de", "ida"), ("ida@xn--exmple-cua.de", "ada"), ("a@example.com", "a")],
            "the same email, .*: ida@xn--exmple-cua.de "
            r"\(00000000-0000-0000-0000-000000000001, 00000000-0000-0000-0000-000000000002\)$",
        ),
        (
            [("a@example.com", "straße"), ("b@example.com", "Strasse")],
            r"the same username, .*: strasse \(",
        ),
    ],
)
async def test_migration_names_accounts_with_one_key_and_changes_nothing(
    empty_url: str, names: list[tuple[str, str]], reason: str
) -> None:
    connection = await old_accounts(empty_url, *names)
    before = await connection.fetch("SELECT * FROM users ORDER BY id")
    with pytest.raises(Exception, match=reason):
        await migrate(empty_url, "0010")
    assert await connection.fetch("SELECT * FROM users ORDER BY id") == before
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == "0009"
    await connection.execute("UPDATE users SET deleted_at = now() WHERE id = $1", UUID(int=1))
    await migrate(empty_url, "0010")
    await connection.close()


@pytest.mark.parametrize("text", ["ⓘⒹⓐ@exa\u0308mple。de", "☃@☃.net", "a@\ufffe", "x" * 2_000])
def test_migration_s_copy_is_the_service_s_function(text: str) -> None:
    migration = frozen()
    assert migration["email_key"](text) == canonical.email_key(text)
    assert migration["username_key"](text) == canonical.username_key(text)


def test_letters_that_the_search_does_not_normalize_are_normal_alone_and_side_by_side() -> None:
    normal = re.compile(f"[{frozen()['NORMAL']}]")
    characters = list(map(chr, range(sys.maxunicode + 1)))
    letters = [letter for letter in characters if normal.match(letter)]
    assert len(letters) > 30_000
    assert unicodedata.is_normalized("NFKC", " ".join(letters))
    # A second letter of a pair is composed with the first.
    pairs = [unicodedata.decomposition(character).split() for character in characters]
    seconds = {chr(int(pair[1], 16)) for pair in pairs if len(pair) == 2 and "<" not in pair[0]}
    hangul = set(unicodedata.normalize("NFD", "".join(map(chr, range(0xAC00, 0xD7A4)))))
    assert not (seconds | hangul) & set(letters)
