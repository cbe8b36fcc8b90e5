"""The clean-ups: at fixed times, once however many workers there are."""

from collections import Counter
from typing import Final

import structlog

from service import clock
from service.jobs.context import JobContext
from service.observability.histogram import Labels
from service.worker.handlers import Cleanup, cleanups

# Each hour; pgqueuer reads it in UTC.
CLEANUP_TIMES: Final = "17 * * * *"

log: Final = structlog.get_logger(__name__)


async def clean_up(context: JobContext, deleted: Counter[Labels] | None = None) -> None:
    """Run every clean-up, and count what each deletes in `deleted`.

    One that fails is logged, and does not keep the others from running.
    """
    deleted = Counter() if deleted is None else deleted
    for name, cleanup in cleanups(context.settings).items():
        before = deleted[name,]
        try:
            await _exhaust(context, name, cleanup, deleted)
        except Exception:  # the next run tries again
            log.exception("clean-up failed", of=name)
        else:
            log.info("cleaned up", of=name, deleted=deleted[name,] - before)


async def _exhaust(
    context: JobContext, name: str, cleanup: Cleanup, deleted: Counter[Labels]
) -> None:
    while True:
        # A transaction each: a long backlog holds no locks for long.
        async with context.database.transaction() as session:
            batch = await cleanup(session, clock.now())
        if batch == 0:
            return
        deleted[name,] += batch
