"""The database's schema beside this code's, and the cluster that the events belong to."""

from sqlalchemy.ext.asyncio import AsyncConnection

from service.db.cluster import cluster_mismatch
from service.db.schema_version import (
    SCHEMA_CHECKS,
    current_revisions,
    head_revision,
    known_revisions,
)
from service.doctor.findings import Deployment, Findings


async def check(connection: AsyncConnection, _deployment: Deployment, found: Findings) -> bool:
    """Look at the schema's revision; return whether this code can run on it."""
    for name, look in SCHEMA_CHECKS.items():
        if (mismatch := await connection.run_sync(look)) is not None:
            await _report(name, mismatch, connection, found)
            return False
    current = max(await connection.run_sync(current_revisions))
    head = head_revision()
    if current not in known_revisions():
        found.ok(f"the schema is at {current}, of a newer release; this code's newest is {head}")
    elif current < head:
        found.ok(
            f"the schema is at {current}, and what an older release needs is still there",
            "after the roll-out run `service migrate --contract`",
        )
    else:
        found.ok(f"the schema is at head ({head})")
    return True


async def _report(name: str, mismatch: str, connection: AsyncConnection, found: Findings) -> None:
    """Add what the database lacks for this code."""
    if name == "encoding":
        found.skipped("not looked at, because the encoding is wrong")
    elif name == "schema":
        current = max(await connection.run_sync(current_revisions), default=None)
        at = "no migration ran there" if current is None else f"it is at {current}"
        found.problem(
            f"{mismatch} ({at}; this code's newest is {head_revision()})",
            "docs/scaling.md, Upgrades, has the order of a roll-out",
        )
    else:
        found.problem(mismatch, "name DATABASE_SCHEMA in the role's search_path, or unset it")


async def check_cluster(
    connection: AsyncConnection, _deployment: Deployment, found: Findings
) -> None:
    """Look whether the events of posts are this cluster's."""
    if mismatch := await connection.run_sync(cluster_mismatch):
        found.problem(mismatch, "see docs/backup.md, Another cluster")
    else:
        found.ok("the events of posts belong to this database cluster")
