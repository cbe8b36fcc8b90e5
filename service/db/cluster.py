"""The cluster that the stream's events belong to, and their new beginning on another one.

The order of events is that of one cluster's transaction ids. A dump or logical replication brings
them to a cluster that counts otherwise: there they would wait for ids that come in years, and new
events would be sorted before them. A copy of the files (a standby, a base backup, a snapshot) stays
the same cluster, and nothing begins anew.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db.base import Base
from service.db.own_schema import enter_schema, quoted
from service.errors import Unavailable

# Whether the events are another cluster's: its identifier is kept beside them, or none is, or an
# event has a transaction id that this cluster has not reached, which is seen without the right to
# ask for an identifier.
FROM_ANOTHER_CLUSTER: Final = """
SELECT NOT EXISTS (
    SELECT FROM post_events_cluster
    WHERE coalesce(system_identifier = cluster_identifier(), true)
) OR EXISTS (
    SELECT FROM post_events
    WHERE horizon >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint
)
"""
REASON: Final = (
    "the events of posts belong to another database cluster (a dump or logical replication "
    "brought them): run `service migrate`"
)


class AnotherCluster(Unavailable):
    """The events belong to another cluster, so that none can be sent."""

    default_message = REASON


# Of several runs at once one begins the events anew, and the others find that done.
_LOCK: Final = text("LOCK TABLE post_events_cluster IN EXCLUSIVE MODE")
# For a role that could not ask for the identifier before.
_COMPLETE: Final = text(
    "UPDATE post_events_cluster SET system_identifier = cluster_identifier() "
    "WHERE system_identifier IS NULL AND cluster_identifier() IS NOT NULL"
)
# Ids go on from the time in microseconds, so that no position of any other cluster, nor of what was
# lost on the way, is ever one of an event here: a client that comes with one gets `reset`.
_BEGIN_ANEW: Final = (
    """
SELECT setval(pg_get_serial_sequence('post_events', 'id'), greatest(
    (SELECT max(id) FROM post_events),
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
))
""",
    "TRUNCATE post_events",
    "INSERT INTO post_events (horizon, kind) VALUES (0, 'beginning')",
    "DELETE FROM post_events_cluster",
    "INSERT INTO post_events_cluster (system_identifier) SELECT cluster_identifier()",
)
_SEQUENCES: Final = text("""
SELECT sequence.relname AS sequence, owner.relname AS table, attname AS column
FROM pg_depend
JOIN pg_class AS sequence ON sequence.oid = objid AND sequence.relkind = 'S'
JOIN pg_class AS owner ON owner.oid = refobjid
JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
JOIN pg_namespace ON pg_namespace.oid = owner.relnamespace AND nspname = current_schema()
WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i')
    AND (owner.relname = ANY (:tables) OR owner.relname LIKE 'pgqueuer%')
ORDER BY 1
""")
# Nothing where the sequence is past its table already.
_ADVANCE: Final = """
SELECT setval('{sequence}', highest.value)
FROM {sequence} AS counter, (SELECT max({column}) AS value FROM {table}) AS highest
WHERE highest.value > counter.last_value
    OR highest.value = counter.last_value AND NOT counter.is_called
"""


@dataclass(frozen=True)
class Adoption:
    """What was done for a database that came from elsewhere: as a rule nothing."""

    events_begun_anew: bool
    sequences: list[str]  # those that stood behind the ids of their tables


def cluster_mismatch(connection: Connection) -> str | None:
    """Return that the events belong to another cluster, in words, or None."""
    return REASON if connection.scalar(text(FROM_ANOTHER_CLUSTER)) else None


async def adopt(engine: AsyncEngine) -> Adoption:
    """Begin another cluster's events anew, and set sequences past the ids of their tables.

    For a schema at head. Streams end, and clients get `reset`.
    """
    async with engine.begin() as connection:
        return await connection.run_sync(_adopt)


def _adopt(connection: Connection) -> Adoption:
    enter_schema(connection)
    connection.execute(_LOCK)
    anew = cluster_mismatch(connection) is not None
    if anew:
        for statement in _BEGIN_ANEW:
            connection.execute(text(statement))
    connection.execute(_COMPLETE)
    # Of the models that are imported; migrating imports all.
    found = connection.execute(_SEQUENCES, {"tables": list(Base.metadata.tables)}).all()
    return Adoption(anew, [row.sequence for row in found if _advance(connection, row)])


def _advance(connection: Connection, row: Row[Any]) -> bool:
    """Set a sequence past its table's ids; return whether it stood behind them."""
    names = {name: quoted(value) for name, value in row._asdict().items()}
    return connection.scalar(text(_ADVANCE.format(**names))) is not None
