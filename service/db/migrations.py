"""Bringing the database's schema to head."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db.migration_locks import DEADLOCK_DETECTED, LOCK_NOT_AVAILABLE, watched
from service.db.schema_version import (
    MIGRATIONS,
    current_revisions,
    head_revision,
    is_contract,
    known_revisions,
    schema_mismatch,
)
from service.settings import PROJECT

# Seconds between tries to get a table's lock: what queued meanwhile is served in a fraction of one.
LOCK_PAUSES: Final = (1, 2, 4, 8, *8 * [15])
_RETRIED: Final = (LOCK_NOT_AVAILABLE, DEADLOCK_DETECTED)

logger: Final = logging.getLogger(__name__)


def config() -> Config:
    """Alembic's configuration, wherever the process was started."""
    found = Config(PROJECT / "alembic.ini")
    # A wheel has no alembic.ini, which says the same for a checkout. Values have % doubled.
    found.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return found


@dataclass(frozen=True)
class Step:
    """A migration that ran: the revisions before (None: an empty database) and after it."""

    before: str | None
    after: str


class TableLocked(Exception):
    """A migration did not get a table's lock, however often it tried."""


def ignore(_step: Step) -> None:
    """Do nothing with a migration that ran."""


async def upgrade(
    engine: AsyncEngine, *, contract: bool = True, report: Callable[[Step], None] = ignore
) -> list[str]:
    """Upgrade to head, or without `contract` to the first contract migration that is left.

    Reports each migration that ran, and returns the revisions that are left. An empty database,
    which no process of an older release uses, is always brought to head.

    Each migration is a transaction of its own: one that fails leaves nothing behind, and those
    before it stay. One that waits for a table longer than LOCK_TIMEOUT lets go, so that reads and
    writes that queue behind it go on, and is tried again, as is the victim of a deadlock.
    Concurrent runs wait for one another.
    Raises TableLocked, and what the database raises.
    """
    for pause in (*LOCK_PAUSES, None):
        async with engine.connect() as connection, watched(engine, connection) as watch:
            try:
                return await connection.run_sync(_run, contract, report)
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in _RETRIED:
                    raise
                if pause is None:
                    raise TableLocked(watch.describe()) from error
        logger.info("%s: trying again in %s s", watch.describe(), pause)
        await asyncio.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _run(connection: Connection, contract: bool, report: Callable[[Step], None]) -> list[str]:
    """Run the migrations up to the goal on a connection, and return the revisions left."""

    def record(*, step: Any, **_: Any) -> None:
        report(Step(", ".join(step.source_revision_ids) or None, step.up_revision_id))

    current = max(current_revisions(connection), default=None)
    newer = current is not None and schema_mismatch(connection) is None
    # What Alembic meets in a transaction that it did not begin, it does not commit.
    connection.rollback()
    if newer and current not in known_revisions():
        return []
    goal, left = _goal(current, contract or current is None)
    settings = config()
    settings.attributes["connection"] = connection
    settings.attributes["on_version_apply"] = record
    command.upgrade(settings, goal)
    return left


def _goal(current: str | None, contract: bool) -> tuple[str, list[str]]:
    """Return the revision to go to, and those that are left then."""
    if contract or current not in known_revisions():
        return head_revision(), []
    pending = sorted(revision for revision in known_revisions() if revision > current)
    first = next((number for number, name in enumerate(pending) if is_contract(name)), len(pending))
    return max([current, *pending[:first]]), pending[first:]
