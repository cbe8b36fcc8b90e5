"""The wait for a synchronous standby of what only reads, so that a failover takes nothing back.

PostgreSQL ends the wait of a commit whose connection is lost: the write is then on the primary
alone, and seen there. A transaction that wrote nothing to the log does not wait either.
"""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from service.db.autocommit import Autocommit
from service.db.query import CompiledWrite

# A record in the log that changes nothing, for whose standby the commit waits; none is written
# where there is no synchronous standby.
REPLICATE: Final = """
SELECT CASE WHEN current_setting('synchronous_standby_names') <> ''
    THEN pg_logical_emit_message(true, 'service', '') END
"""
_REPLICATE: Final = CompiledWrite(text(REPLICATE))


async def require_replication(db: AsyncSession | Autocommit) -> None:
    """Wait until a synchronous standby, where there is one, has all that was read.

    A session waits in its commit. A success that repeats what another transaction did must survive
    a failover as that one's own.
    """
    if isinstance(db, Autocommit):
        await db.write(_REPLICATE, {})
    else:
        await db.execute(_REPLICATE.statement)
