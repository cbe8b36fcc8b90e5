"""`python -m benchmarks.growth`: fill every table, and print what a row of each takes on disk.

Runs on a PostgreSQL of its own in a temporary folder, with the people of `service demo` and posts
of 200 words, of which a few are in most posts and most in few (Zipf's law).
"""

import argparse
import asyncio
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import asyncpg

from service import embedded_postgres
from service.cli import demo_data
from service.db.engine import create_engine
from service.db.migrations import upgrade
from service.testing.application import make_settings

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
SOMEBODY = "(SELECT array_agg(id) AS ids FROM (SELECT id FROM users LIMIT 10000) AS u) AS people"
ONE = "ids[1 + n % cardinality(ids)]"
# Posts of authors of whom some write much; times in order, as posts come.
POSTS = f"""
INSERT INTO posts (id, author_id, title, content, created_at)
SELECT gen_random_uuid(), ids[1 + floor(cardinality(ids) * random() ^ 2)], 'Title ' || n,
    (SELECT string_agg('word' || floor($3 ^ random()), ' ') FROM generate_series(1, 200 + n % 2)),
    now() + n * interval '1 ms'
FROM generate_series($1::int, $2::int) AS n, {SOMEBODY}"""
BATCH = 5_000
# What fills a table that the posts do not, with `$1` rows.
FILL = {
    "sessions": f"""
INSERT INTO sessions (id, user_id, token_id, token_issued_at, previous_token_id, rotated_at,
    created_at, last_used_at, expires_at, ip, user_agent)
SELECT gen_random_uuid(), {ONE}, gen_random_uuid(), now(), gen_random_uuid(), now(), now(), now(),
    now() + interval '30 days', '203.0.113.' || n % 256, '{AGENT}'
FROM generate_series(1, $1::int) AS n, {SOMEBODY}""",
    "security_events": f"""
INSERT INTO security_events (id, kind, user_id, actor_id, created_at, ip, user_agent)
SELECT gen_random_uuid(), 'login.succeeded', {ONE}, {ONE}, now() + n * interval '1 s',
    '203.0.113.' || n % 256, '{AGENT}'
FROM generate_series(1, $1::int) AS n, {SOMEBODY}""",
    "mail_links": f"""
INSERT INTO mail_links (id, user_id, purpose, email, email_key, created_at, token_hash, expires_at)
SELECT gen_random_uuid(), {ONE}, 'verify-email', n || '@example.com', n || '@example.com', now(),
    sha256(n::text::bytea), now()
FROM generate_series(1, $1::int) AS n, {SOMEBODY}""",
    "idempotency_keys": """
INSERT INTO idempotency_keys (user_id, key, digest, status, headers, body, created_at)
SELECT author_id, gen_random_uuid(), sha256(id::text::bytea), 201,
    jsonb_build_object('ETag', '"1-0123456789abcdef"', 'Location', '/api/posts/' || id,
        'Content-Type', 'application/json'),
    convert_to((SELECT shown FROM post_as_json(posts) AS shown), 'UTF8'), now()
FROM posts LIMIT $1""",
    "hidden_authors": "INSERT INTO hidden_authors SELECT id, now() FROM users LIMIT $1",
    # An encrypted secret has 52 bytes.
    "totps": """
INSERT INTO totps (user_id, secret, created_at, last_used_at, last_step)
SELECT id, sha256(id::text::bytea) || substr(sha256(id::text::bytea), 1, 20), now(), now(), 59666412
FROM users LIMIT $1""",
    "totp_setups": """
INSERT INTO totp_setups (user_id, session_id, secret, sign_in_epoch, expires_at)
SELECT id, gen_random_uuid(), sha256(id::text::bytea) || substr(sha256(id::text::bytea), 1, 20), 0,
    now()
FROM users LIMIT $1""",
    "recovery_codes": f"""
INSERT INTO recovery_codes (user_id, digest, created_at)
SELECT {ONE}, sha256(n::text::bytea), now() FROM generate_series(1, $1::int) AS n, {SOMEBODY}""",
    "code_locks": """
INSERT INTO code_locks (user_id, failures, locked_until) SELECT id, 5, now() FROM users LIMIT $1""",
    "login_tokens": f"""
INSERT INTO login_tokens (digest, user_id, methods, sign_in_epoch, expires_at)
SELECT sha256(n::text::bytea), {ONE}, '{{password}}', 0, now() + n * interval '1 s'
FROM generate_series(1, $1::int) AS n, {SOMEBODY}""",
    # As Chromium makes them: 32 bytes of a credential's id, 77 of its key (P-256).
    "passkeys": f"""
INSERT INTO passkeys (id, user_id, credential_id, public_key, sign_count, kind, name, aaguid,
    synced, rp_id, created_at, last_used_at)
SELECT gen_random_uuid(), {ONE}, sha256(n::text::bytea),
    sha256(n::text::bytea) || sha256(n::text::bytea) || substr(sha256(n::text::bytea), 1, 13), 0,
    'passkey', 'iCloud Keychain', gen_random_uuid(), true, 'app.example.com', now(), now()
FROM generate_series(1, $1::int) AS n, {SOMEBODY}""",
    "spent_challenges": """
INSERT INTO spent_challenges (challenge, expires_at)
SELECT sha256(n::text::bytea), now() + n * interval '1 s' FROM generate_series(1, $1::int) AS n""",
    "notice_counts": """
INSERT INTO notice_counts (user_id, day, notices) SELECT id, now(), 1 FROM users LIMIT $1""",
    "api_keys": f"""
INSERT INTO api_keys (id, user_id, name, scopes, hint, lookup, digest, created_at, expires_at,
    last_used_at, last_used_ip)
SELECT gen_random_uuid(), {ONE}, 'Backup of the office', '{{posts:write,account:read}}',
    'svc_…a1B2', gen_random_uuid(), sha256(n::text::bytea), now(), now() + n * interval '1 s',
    now(), '203.0.113.' || n % 256
FROM generate_series(1, $1::int) AS n, {SOMEBODY}""",
    "identities": f"""
INSERT INTO identities (id, user_id, provider, issuer, subject, email, name, created_at,
    last_used_at)
SELECT gen_random_uuid(), {ONE}, 'google', 'https://accounts.google.com',
    '1234567890123' || (10000000 + n), n || '@example.com', 'Ada Lovelace', now(), now()
FROM generate_series(1, $1::int) AS n, {SOMEBODY}""",
    # With the provider's code, of 70 characters and 32 bytes for its encryption.
    "external_flows": """
INSERT INTO external_flows (state_digest, provider, issuer, issuer_required, return_to,
    code_challenge, code_digest, provider_code, expires_at)
SELECT sha256(n::text::bytea), 'google', 'https://accounts.google.com', true,
    'https://app.example.com/signed-in', substr(encode(sha256(n::text::bytea), 'base64'), 1, 43),
    sha256((-n)::text::bytea), convert_to(repeat(md5(n::text), 3) || '123456', 'UTF8'),
    now() + n * interval '1 s'
FROM generate_series(1, $1::int) AS n""",
    "pgqueuer": """
INSERT INTO pgqueuer (priority, entrypoint, payload, headers, status)
SELECT 0, 'mail link', convert_to('{"link": "' || gen_random_uuid()
    || '", "purpose": "verify-email"}', 'UTF8'),
    jsonb_build_object('to', n || '@example.com', 'request_id', gen_random_uuid()), 'queued'
FROM generate_series(1, $1::int) AS n""",
    "pgqueuer_log": """
INSERT INTO pgqueuer_log (job_id, status, priority, entrypoint)
SELECT n, 'successful', 0, 'mail link' FROM generate_series(1, $1::int) AS n""",
    "pgqueuer_statistics": """
INSERT INTO pgqueuer_statistics (created, count, priority, status, entrypoint)
SELECT date_trunc('sec', now()) + n * interval '1 s', 1, 0, 'successful', 'mail link'
FROM generate_series(1, $1::int) AS n""",
}
SIZES = """
SELECT relname AS name, pg_table_size(oid) AS rows, pg_indexes_size(oid) AS indexes
FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
ORDER BY relname
"""
INDEXES = """
SELECT indexrelid::regclass::text AS name, pg_relation_size(indexrelid) AS bytes
FROM pg_index WHERE indrelid = 'posts'::regclass ORDER BY bytes DESC
"""


async def fill(
    connection: "asyncpg.Connection[Any]", posts: int, rows: int, vocabulary: int
) -> None:
    async for _ in demo_data.add_users(connection, rows, "password"):
        pass
    for first in range(1, posts + 1, BATCH):
        last = min(first + BATCH - 1, posts)
        await connection.execute(POSTS, first, last, float(vocabulary))
    for statement in FILL.values():
        await connection.execute(statement, rows)


async def show(connection: "asyncpg.Connection[Any]", posts: int) -> None:
    await connection.execute("VACUUM ANALYZE")
    print(f"{'table':22}{'rows':>12}{'bytes a row':>14}{'of these indexes':>18}")
    for table in await connection.fetch(SIZES):
        count = await connection.fetchval(f'SELECT count(*) FROM "{table["name"]}"')
        each, indexes = (
            round(size / max(count, 1))
            for size in (table["rows"] + table["indexes"], table["indexes"])
        )
        print(f"{table['name']:22}{count:>12,}{each:>14,}{indexes:>18,}")
    for index in await connection.fetch(INDEXES):
        start = perf_counter()
        await connection.execute(f"REINDEX INDEX {index['name']}")
        took = perf_counter() - start
        again = await connection.fetchval("SELECT pg_relation_size($1::regclass)", index["name"])
        print(
            f"{index['name']}: {index['bytes'] / posts:.0f} bytes a post, "
            f"{again / posts:.0f} once rebuilt, in {took:.1f} s"
        )


async def measure(url: str, posts: int, rows: int, vocabulary: int) -> None:
    engine = create_engine(make_settings(database_url=url), migrating=True)
    await upgrade(engine)
    await engine.dispose()
    connection = await asyncpg.connect(url)
    await fill(connection, posts, rows, vocabulary)
    await show(connection, posts)
    await connection.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--posts", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=100_000, help="of each other table")
    parser.add_argument("--vocabulary", type=int, default=100_000, help="different words")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded_postgres.start(Path(folder), durable=False) as server,
    ):
        asyncio.run(measure(server.url(), options.posts, options.rows, options.vocabulary))
