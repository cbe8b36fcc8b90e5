"""What metrics show of the database itself: its schema's revision, and the sizes of its tables."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.db.database import Database
from service.db.schema_version import current_revisions
from service.observability.histogram import Labels
from service.observability.metrics import Metrics

SIZES_INTERVAL: Final = 60.0  # seconds between two looks at the sizes of tables, at least

# As VACUUM and ANALYZE last saw them, so that no table is opened: its size on the disk would be
# waited for while a migration locks it. A table that neither has seen has -1 rows.
_SIZES: Final = text(
    """
    SELECT
        tables.relname AS name,
        (tables.relpages + sum(parts.pages)) * current_setting('block_size')::int AS bytes,
        CASE WHEN tables.reltuples < 0 THEN pg_stat_get_live_tuples(tables.oid)
            ELSE tables.reltuples END AS rows
    FROM pg_class AS tables
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(toast.relpages), 0) AS pages
        FROM pg_class AS toast WHERE toast.oid = tables.reltoastrelid
        UNION ALL
        SELECT coalesce(sum(indexes.relpages), 0)
        FROM pg_index JOIN pg_class AS indexes ON indexes.oid = pg_index.indexrelid
        WHERE pg_index.indrelid IN (tables.oid, tables.reltoastrelid)
    ) AS parts
    WHERE tables.relkind = 'r'
        AND tables.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
    GROUP BY tables.oid, tables.relname, tables.relpages, tables.reltuples
    """
)


def register_metrics(metrics: Metrics, database: Database) -> None:
    """Show the schema's revision and the sizes of its tables."""
    metrics.add_query_gauge(
        "database_schema_info",
        "The newest migration that ran.",
        ("revision",),
        lambda: database.probe(find_revision),
        missing=None,
    )
    metrics.add_query_gauges(
        {
            "database_table_bytes": "Pages of a table, with its TOAST table and all indexes.",
            "database_table_rows": "Rows of a table.",
        },
        ("table",),
        lambda: database.probe(measure_tables),
        interval=SIZES_INTERVAL,
        missing=None,
    )


async def find_revision(connection: AsyncConnection) -> dict[Labels, float]:
    """Return the revision that the schema is at; nothing where there is none."""
    revisions = await connection.run_sync(current_revisions)
    return {(revision,): 1 for revision in revisions}


async def measure_tables(connection: AsyncConnection) -> Sequence[dict[Labels, float]]:
    """Return the bytes and the rows of each table, as PostgreSQL's statistics have them."""
    found = (await connection.execute(_SIZES)).all()
    return (
        {(table.name,): int(table.bytes) for table in found},
        {(table.name,): table.rows for table in found},
    )
