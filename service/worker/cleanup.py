"""The clean-ups: at fixed times, once however many workers there are."""

from typing import Final

import structlog

from service import clock
from service.jobs.context import JobContext
from service.worker.handlers import Cleanup, cleanups

# Each hour; pgqueuer reads it in UTC.
CLEANUP_TIMES: Final = "17 * * * *"

log: Final = structlog.get_logger(__name__)


async def clean_up(context: JobContext) -> None:
    """Run every clean-up; one that fails is logged and does not keep the others from running."""
    for name, cleanup in cleanups(context.settings).items():
        try:
            deleted = await _exhaust(context, cleanup)
        except Exception:  # the next run tries again
            log.exception("clean-up failed", of=name)
        else:
            log.info("cleaned up", of=name, deleted=deleted)


async def _exhaust(context: JobContext, cleanup: Cleanup) -> int:
    deleted = 0
    while True:
        # A transaction each: a long backlog holds no locks for long.
        async with context.database.transaction() as session:
            batch = await cleanup(session, clock.now())
        if batch == 0:
            return deleted
        deleted += batch
