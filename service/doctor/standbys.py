"""The standbys that follow the database's server."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.doctor.findings import Deployment, Findings

# To roles without pg_monitor the states are NULL.
_STANDBYS: Final = text("""
SELECT application_name AS name, state, sync_state,
    coalesce(extract(epoch FROM replay_lag), 0)::float AS lag
FROM pg_stat_replication ORDER BY application_name
""")
_NAMES: Final = text("SELECT current_setting('synchronous_standby_names')")
_SYNCHRONOUS: Final = ("sync", "quorum")


async def check(connection: AsyncConnection, _deployment: Deployment, found: Findings) -> None:
    """Look whether writes have the synchronous standby that they wait for."""
    rows = (await connection.execute(_STANDBYS)).all()
    names = (await connection.execute(_NAMES)).scalar_one()
    hidden = any(row.state is None for row in rows)
    for row in rows:
        if row.state is not None:
            found.ok(f"{row.name}: {row.state}, {row.sync_state}, {row.lag:.1f} s behind")
    if hidden:
        found.skipped("the role may not see standbys: GRANT pg_monitor lets it")
    elif names and not any(row.sync_state in _SYNCHRONOUS for row in rows):
        found.problem(
            "synchronous_standby_names is set, and no such standby follows: every write waits",
            "start the standby, or empty synchronous_standby_names",
        )
    elif not rows:
        found.ok("no standby follows the server", "one makes a failover possible")
