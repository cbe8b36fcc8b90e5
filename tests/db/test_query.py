"""Compiled queries, and their plans."""

import re

import asyncpg
import pytest

from service.auth import callers
from service.db.query import KeyedQuery
from service.posts import queries

FILL = """
    INSERT INTO users (id, email, username, password_hash)
    SELECT gen_random_uuid(), n || '@example.com', 'user' || n, '' FROM generate_series(1, 2000) n;
    INSERT INTO posts (id, author_id, title, content)
    SELECT gen_random_uuid(), id, '', '' FROM users;
    INSERT INTO sessions
      (id, user_id, token_id, token_issued_at, created_at, last_used_at, expires_at)
    SELECT gen_random_uuid(), id, gen_random_uuid(), now(), now(), now(), now() FROM users;
"""


@pytest.mark.parametrize(
    ("lookup", "table"), [(queries._one_post, "posts"), (callers._caller, "sessions")]
)
async def test_lookup_uses_the_index_without_statistics(
    lookup: KeyedQuery, table: str, db: "asyncpg.Connection"
) -> None:
    await db.execute(FILL)
    await db.execute("SET plan_cache_mode = force_generic_plan")
    await db.execute(f"PREPARE lookup AS {lookup.compiled.text}")
    plan = "\n".join(line for (line,) in await db.fetch("EXPLAIN EXECUTE lookup ('{}')"))
    assert set(re.findall(r"Scan using (\w+)", plan)) == {f"pk_{table}", "pk_users"}
    # hidden_authors is empty as a rule, and read whole: once for a statement.
    assert not re.search("Seq Scan on (?!hidden_authors)|Bitmap|Hash|Merge", plan)
