"""Many posts from few: PostgreSQL multiplies them faster than Python makes up others."""

import asyncpg

SEED = 20_000  # posts to multiply
BATCH = 20_000

SEEDS = """
CREATE TEMPORARY TABLE seeds AS
SELECT row_number() OVER newest - 1 AS number, author_id, title, content, created_at,
    coalesce(lead(created_at) OVER newest, now()) AS until
FROM posts WINDOW newest AS (ORDER BY created_at, id);
ALTER TABLE seeds ADD PRIMARY KEY (number);
ANALYZE seeds;
TRUNCATE posts;
"""
# The times of the posts $1 to $2 of $3 lie evenly between those of the seeds, and their ids (RFC
# 9562, UUID version 7) begin with the time. Text and author are those of one of the 1,000 seeds
# before, so that neighbours differ and each author had joined.
POSTS = """
INSERT INTO posts (id, author_id, title, content, created_at, updated_at)
SELECT (left(hex, 8) || '-' || right(hex, 4) || '-7' || substr(gen_random_uuid()::text, 16))::uuid,
    author_id, title, content, moment, moment
FROM (
    SELECT n, number - floor(random() * least(number + 1, 1000))::bigint AS chosen, moment,
        lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0') AS hex
    FROM generate_series($1::bigint, $2::bigint) AS n
    JOIN (SELECT count(*) AS seeds FROM seeds) AS counted ON true
    JOIN seeds ON number = (n - 1) * seeds / $3::bigint,
    LATERAL (SELECT created_at + (until - created_at) * ((n - 1) * seeds % $3 / $3::float))
        AS place (moment)
) AS placed
JOIN seeds ON seeds.number = chosen
ORDER BY n
"""


async def multiply(connection: "asyncpg.Connection[asyncpg.Record]", posts: int) -> None:
    """Replace all posts by so many like them, in the order of their times, without events."""
    await connection.execute("SET service.post_events = 'off'")
    await connection.execute(SEEDS)
    for first in range(1, posts + 1, BATCH):
        await connection.execute(POSTS, first, min(first + BATCH - 1, posts), posts)
