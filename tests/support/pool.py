"""What a pool of connections is doing."""

import asyncio

from sqlalchemy import text

from service.db.database import Database
from service.db.pool import ConnectionTracker

ONE = text("SELECT 1")
LONG = 60.0  # seconds that nobody waits


async def waits(database: Database, count: int) -> bool:
    """Whether so many requests wait for a connection."""
    return database.usage().waiting == count


async def ends_at_once(tracker: ConnectionTracker) -> bool:
    """Whether the tracker holds no connection: draining it takes no time."""
    try:
        async with asyncio.timeout(LONG / 2):
            await tracker.drain(LONG)
    except TimeoutError:
        return False
    return True
