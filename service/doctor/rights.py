"""What the database's role may do: what the service and its migrations need, and no more."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

import service.app  # noqa: F401 - imported for its tables
from service.db.base import Base
from service.doctor.findings import Deployment, Findings

_ROLE: Final = text("""
SELECT current_user AS name, rolsuper AS superuser, current_schema() AS schema,
    has_schema_privilege(current_schema(), 'CREATE') AS creates
FROM pg_roles WHERE rolname = current_user
""")
# One row for each set of rights that the role lacks, with the tables or sequences that lack it.
_LACKING: Final = text("""
SELECT kind, rights, string_agg(name, ', ' ORDER BY name) AS names
FROM (
SELECT relname AS name, string_agg(lacking, ', ' ORDER BY place) AS rights,
    CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE '' END AS kind
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace AND nspname = current_schema()
CROSS JOIN unnest(
    CASE WHEN relkind = 'S' THEN ARRAY['USAGE']
        WHEN relname = ANY (:read) THEN ARRAY['SELECT']
        ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'] END
) WITH ORDINALITY AS needed (lacking, place)
WHERE (
    relkind = 'r' AND (relname = ANY (:tables) OR relname LIKE 'pgqueuer%')
    OR relkind = 'S' AND EXISTS (
        SELECT FROM pg_depend JOIN pg_class AS owner ON owner.oid = refobjid
        WHERE objid = pg_class.oid AND deptype = 'a'
            AND (owner.relname = ANY (:tables) OR owner.relname LIKE 'pgqueuer%')
    )
) AND NOT CASE WHEN relkind = 'S' THEN has_sequence_privilege(pg_class.oid, lacking)
    ELSE has_table_privilege(pg_class.oid, lacking) END
GROUP BY relname, relkind
) AS lacking_by_name
GROUP BY kind, rights ORDER BY kind, names
""")
# What only migrations write.
_READ: Final = ("alembic_version", "schema_revisions", "post_events_cluster")


async def check_role(connection: AsyncConnection, deployment: Deployment, found: Findings) -> None:
    """Look whether the role may migrate, and whether it may do too much."""
    role = (await connection.execute(_ROLE)).one()
    if role.superuser and not deployment.embedded:
        found.warning(
            f"the role {role.name} is a superuser, who may read files and run programs",
            "give the service a role of its own that owns its tables",
        )
    if role.schema is None:
        found.warning(
            "the role's search_path names no schema that exists and that it may use",
            "run `service migrate`, which makes DATABASE_SCHEMA, or GRANT USAGE ON it, or correct "
            "search_path",
        )
    elif role.creates:
        found.ok(f"{role.name} may make tables in the schema {role.schema}")
    else:
        found.ok(
            f"{role.name} may make no tables in the schema {role.schema}",
            "run `service migrate` as a role that may",
        )


async def check_tables(
    connection: AsyncConnection, _deployment: Deployment, found: Findings
) -> None:
    """Look whether the role may read and write each table."""
    tables = [*Base.metadata.tables, *_READ]
    rows = (await connection.execute(_LACKING, {"tables": tables, "read": list(_READ)})).all()
    for row in rows:
        found.problem(
            f"the role lacks {row.rights} on {row.names}",
            f"GRANT {row.rights} ON {row.kind}{row.names} TO the role",
        )
    if not rows:
        found.ok("the role may read and write every table, and use its sequence")
