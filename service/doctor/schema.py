"""The database's schema beside this code's, and the cluster that the events belong to."""

from sqlalchemy.ext.asyncio import AsyncConnection

from service.db.cluster import cluster_mismatch
from service.db.schema_version import (
    current_revisions,
    head_revision,
    known_revisions,
    schema_mismatch,
)
from service.doctor.findings import Deployment, Findings


async def check(connection: AsyncConnection, _deployment: Deployment, found: Findings) -> bool:
    """Look at the schema's revision; return whether this code can run on it."""
    if mismatch := await connection.run_sync(schema_mismatch):
        found.problem(mismatch, "docs/scaling.md, Upgrades, has the order of a roll-out")
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


async def check_cluster(
    connection: AsyncConnection, _deployment: Deployment, found: Findings
) -> None:
    """Look whether the events of posts are this cluster's."""
    if mismatch := await connection.run_sync(cluster_mismatch):
        found.problem(mismatch, "see docs/backup.md, Another cluster")
    else:
        found.ok("the events of posts belong to this database cluster")
