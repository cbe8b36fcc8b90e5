"""Every table has its place in the table of what bounds its growth."""

import re

import asyncpg

from benchmarks.growth import FILL
from service.settings import PROJECT

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
# What the people and posts of the measurement fill, and what has a number of rows of its own.
FILLED = {"users", "posts", "author_post_counts", "post_events"}
FIXED = {
    "alembic_version",
    "pgqueuer_schedules",
    "post_counts",
    "post_events_cluster",
    "schema_revisions",
}


async def tables(db: "asyncpg.Connection") -> set[str]:
    return {row["tablename"] for row in await db.fetch(TABLES)}


async def test_documentation_says_what_bounds_each_table(db: "asyncpg.Connection") -> None:
    text = (PROJECT / "docs" / "operations.md").read_text()
    section = text.partition("\n## Growth\n")[2].partition("\n## ")[0]
    rows = [row.split("|") for row in section.splitlines() if row.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row[1])]
    assert sorted(named) == sorted(await tables(db))
    assert all(cell.strip() for row in rows for cell in row[2:4])
    measured = {name for row in rows if row[4].strip() for name in re.findall(r"`(\w+)`", row[1])}
    assert measured == await tables(db) - FIXED


async def test_measurement_of_growth_fills_each_table_that_grows(db: "asyncpg.Connection") -> None:
    assert FILL.keys() | FILLED == await tables(db) - FIXED
