"""The database's server: its version, whether it takes writes, locale, extensions, connections."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.db.schema_version import encoding_mismatch, read_only_problem
from service.doctor.findings import Deployment, Findings

OLDEST: Final = 15
NEWEST: Final = 18
# Beside the pool: readiness has one connection, and event streams have one.
BESIDE: Final = 2
_VERSION: Final = text(
    "SELECT current_setting('server_version') AS words, "
    "current_setting('server_version_num')::int / 10000 AS number"
)
# Versions are NULL where a locale has none, as C has.
_LOCALE: Final = text("""
SELECT pg_encoding_to_char(encoding) AS encoding, datcollate AS locale, datcollversion AS made,
    pg_database_collation_actual_version(oid) AS actual
FROM pg_database WHERE datname = current_database()
""")
_EXTENSIONS: Final = text("SELECT extname FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1")
# pg_stat_activity shows no type of other roles' processes; their number all roles may see.
_CAPACITY: Final = text("""
SELECT current_setting('max_connections')::int AS most,
    current_setting('superuser_reserved_connections')::int
        + coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved,
    (SELECT sum(numbackends)::int FROM pg_stat_database) AS used
""")


async def check_version(
    connection: AsyncConnection, deployment: Deployment, found: Findings
) -> bool:
    """Look at the server's version; return whether it is one that can be asked further."""
    row = (await connection.execute(_VERSION)).one()
    name = f"PostgreSQL {row.words} at {deployment.settings.database_address} answers"
    return report_version(name, row.number, found)


def report_version(name: str, number: int, found: Findings) -> bool:
    """Add what a version means; return whether it is new enough."""
    if number < OLDEST:
        found.problem(
            f"{name}: it is too old", f"move to PostgreSQL {OLDEST} to {NEWEST}: docs/backup.md"
        )
        return False
    if number > NEWEST:
        found.warning(
            f"{name}: this release was not tested with it", f"use PostgreSQL {OLDEST} to {NEWEST}"
        )
    else:
        found.ok(name)
    return True


async def check_writes(
    connection: AsyncConnection, _deployment: Deployment, found: Findings
) -> None:
    """Look whether the database takes writes."""
    if problem := await connection.run_sync(read_only_problem):
        found.problem(problem, "name the primary in DATABASE_URL, or promote this server")
    else:
        found.ok("it takes writes")


async def check_locale(
    connection: AsyncConnection, _deployment: Deployment, found: Findings
) -> None:
    """Look at the encoding, and whether indexes were made by the collation of today."""
    if mismatch := await connection.run_sync(encoding_mismatch):
        found.problem(mismatch)
    row = (await connection.execute(_LOCALE)).one()
    if row.actual is not None and row.made != row.actual:
        found.problem(
            f"the collation {row.locale} is of version {row.actual}, and indexes were made with "
            f"{row.made}: they may miss rows",
            "run REINDEX DATABASE, then ALTER DATABASE … REFRESH COLLATION VERSION",
        )
    elif not mismatch:
        found.ok(f"its encoding is {row.encoding}, its locale {row.locale}")


async def check_extensions(
    connection: AsyncConnection, _deployment: Deployment, found: Findings
) -> None:
    """List what is installed: the service needs none."""
    names = list(await connection.scalars(_EXTENSIONS))
    installed = f"installed: {', '.join(names)}" if names else "none is installed"
    hint = "" if "pg_stat_statements" in names else "pg_stat_statements shows what statements cost"
    found.ok(f"no extension is needed; {installed}", hint)


async def check_capacity(
    connection: AsyncConnection, deployment: Deployment, found: Findings
) -> None:
    """Look how many processes have room in max_connections."""
    if deployment.settings.database_pgbouncer:
        found.skipped("behind PgBouncer its pool counts, and not max_connections")
        return
    row = (await connection.execute(_CAPACITY)).one()
    report_capacity(row.most, row.reserved, row.used, deployment.settings.database_pool_size, found)


def report_capacity(most: int, reserved: int, used: int, pool: int, found: Findings) -> None:
    """Add how many processes with a pool of this size have room."""
    of_process = pool + BESIDE
    fitting = (most - reserved) // of_process
    words = (
        f"max_connections {most} less {reserved} reserved has room for {fitting} processes of "
        f"{of_process} connections (DATABASE_POOL_SIZE {pool} and {BESIDE}); {used} are in use"
    )
    advice = "lower DATABASE_POOL_SIZE, or raise max_connections"
    if fitting < 1:
        found.problem(words, advice)
    elif fitting < 3:  # the API, a worker, and a second API at each restart
        found.warning(f"{words}: a roll-out needs three", advice)
    else:
        found.ok(words)
