"""The schema that the service's tables lie in: one of its own, or the one that its role is in.

Migrating puts them there, and leaves what another application has in the same place alone.
"""

from typing import Final

from sqlalchemy import Connection, text

from service.db.schema_version import known_revisions, wanted_schema

# Tables that stand from this revision on. An application that numbers its own migrations alike,
# or has some of these tables, does not have all of them.
_SIGNS: Final = (("0001", {"users", "posts"}), ("0003", {"pgqueuer"}), ("0005", {"post_events"}))
_FOUND: Final = text(
    "SELECT name FROM unnest(CAST(:names AS text[])) AS name WHERE to_regclass(name) IS NOT NULL"
)
_REVISIONS: Final = text("SELECT version_num FROM alembic_version ORDER BY 1")
_EXISTS: Final = text("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = :name)")
ADVICE: Final = "DATABASE_SCHEMA gives the service a schema of its own."


class SchemaOccupied(Exception):
    """Where the service's tables would lie, another application has its own."""


def quoted(name: str) -> str:
    """Return a schema's name as SQL writes it."""
    return '"{}"'.format(name.replace('"', '""'))


def enter_schema(connection: Connection) -> None:
    """Make the schema of DATABASE_SCHEMA where it is missing, and work in it to the commit.

    Later transactions work in it because the connection says so from its start.
    """
    name = wanted_schema(connection)
    if name is None:
        return
    # Asked first: to make one, even one that exists, takes a right that the role may lack.
    if not connection.scalar(_EXISTS, {"name": name}):
        connection.execute(text(f"CREATE SCHEMA {quoted(name)}"))
    connection.execute(text(f"SET LOCAL search_path TO {quoted(name)}"))


def refuse_occupied(connection: Connection) -> None:
    """Raise SchemaOccupied, saying what was found, where the tables are another application's."""
    names = {"alembic_version"}.union(*(tables for _, tables in _SIGNS))
    found = set(connection.scalars(_FOUND, {"names": sorted(names)}))
    revisions = list(connection.scalars(_REVISIONS)) if "alembic_version" in found else []
    if not revisions:
        return  # tables of the same names stop the first migration
    # Of a newer version of this service, all that this one knows stands.
    newest = max(revisions) if set(revisions) <= known_revisions() else max(known_revisions())
    expected = set().union(*(tables for since, tables in _SIGNS if since <= newest))
    if not expected <= found:
        raise SchemaOccupied(
            f"alembic_version is another application's (revision {', '.join(revisions)}). {ADVICE}"
        )
