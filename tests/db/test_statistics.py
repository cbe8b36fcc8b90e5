"""What the metrics say of the database itself."""

import asyncpg
import pytest

from service.db.statistics import SIZES_INTERVAL
from tests.support.client import Client
from tests.support.scrape import scrape

BYTES = "database_table_bytes"
ROWS = "database_table_rows"
TOTAL = "SELECT pg_total_relation_size('posts')"


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the metrics' queries see, to be moved."""
    now = [1_000.0]
    monkeypatch.setattr("service.observability.metrics.monotonic", lambda: now[0])
    return now


async def write_long_posts(db: "asyncpg.Connection", number: int) -> None:
    """Write posts with contents that lie in the TOAST table."""
    await db.execute(
        "INSERT INTO posts (id, title, content, author_id, created_at, updated_at, version) "
        "SELECT gen_random_uuid(), 'title', string_agg(md5(random()::text), ''), "
        "(SELECT id FROM users LIMIT 1), now(), now(), 1 "
        "FROM generate_series(1, $1) AS post, generate_series(1, 300) GROUP BY post",
        number,
    )
    await db.execute("VACUUM ANALYZE posts")


async def test_sizes_of_tables_count_toast_and_indexes(
    client: Client, db: "asyncpg.Connection"
) -> None:
    await client.sign_up()
    await write_long_posts(db, 50)
    found = await scrape(client)
    heap = await db.fetchval("SELECT pg_relation_size('posts')")
    total = await db.fetchval(TOTAL)
    # Free space maps and visibility maps are not among the pages.
    assert heap * 2 < found.value(BYTES, table="posts") <= total
    assert found.value(BYTES, table="posts") > 0.5 * total
    assert found.value(ROWS, table="posts") == 50


async def test_sizes_of_tables_are_looked_up_once_a_minute(
    client: Client, db: "asyncpg.Connection", now: list[float]
) -> None:
    await client.sign_up()
    await write_long_posts(db, 3)
    assert (await scrape(client)).value(ROWS, table="posts") == 3
    await write_long_posts(db, 4)
    now[0] += SIZES_INTERVAL - 1
    assert (await scrape(client)).value(ROWS, table="posts") == 3
    now[0] += 2
    assert (await scrape(client)).value(ROWS, table="posts") == 7


async def test_sizes_of_tables_wait_for_no_lock(client: Client, db: "asyncpg.Connection") -> None:
    async with db.transaction():
        await db.execute("LOCK TABLE posts, users IN ACCESS EXCLUSIVE MODE")
        found = await scrape(client)
    assert found.value("metrics_query_failures_total") == 0
    assert {"posts", "users", "pgqueuer"} <= found.labels("table")


async def test_tables_of_other_schemas_are_not_measured(
    client: Client, db: "asyncpg.Connection"
) -> None:
    await db.execute("CREATE SCHEMA beside; CREATE TABLE beside.foreigners (id int)")
    tables = (await scrape(client)).labels("table")
    assert "foreigners" not in tables
    assert "posts" in tables
    assert "pg_class" not in tables


async def test_table_that_is_dropped_is_no_longer_measured(
    client: Client, db: "asyncpg.Connection", now: list[float]
) -> None:
    await db.execute("CREATE TABLE passing (id int)")
    assert "passing" in (await scrape(client)).labels("table")
    await db.execute("DROP TABLE passing")
    now[0] += SIZES_INTERVAL + 1
    assert "passing" not in (await scrape(client)).labels("table")


async def test_revision_of_the_database_is_in_the_metrics(
    client: Client, db: "asyncpg.Connection", now: list[float]
) -> None:
    code = (await scrape(client)).labels("schema", of="service_build_info")
    assert (await scrape(client)).labels("revision") == code
    await db.execute("UPDATE alembic_version SET version_num = '9999'")
    now[0] += 6
    found = await scrape(client)
    assert found.value("database_schema_info", revision="9999") == 1
    assert found.labels("revision") == {"9999"}
    assert found.labels("schema", of="service_build_info") == code
