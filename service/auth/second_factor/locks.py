"""The lock of an account's codes: guessing is bounded, whatever process, address or login it is by.

The account is locked by its row meanwhile, so that of any number of wrong codes at once as many are
judged as of wrong codes one after another.
"""

import math
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.auth.errors import SecondFactorLocked
from service.auth.second_factor.models import CodeLock
from service.db.database import execute_count

FAILURES_MAX: Final = 5
FIRST: Final = timedelta(minutes=1)
LONGEST: Final = timedelta(days=1)
# How long after the end of a lock the wrong codes are forgotten. A thief of the password has 16
# tries until a lock lasts a day, and one a day from then on. One who waits for this instead has 16
# a month, which are fewer.
MEMORY: Final = timedelta(days=30)
CLEANUP_BATCH: Final = 5_000


async def require_unlocked(session: AsyncSession, user_id: UUID) -> None:
    """Raise SecondFactorLocked (429) while an account's codes are locked; the account is."""
    statement = select(CodeLock.locked_until).where(CodeLock.user_id == user_id)
    until = (await session.execute(statement)).scalar_one_or_none()
    left = (until - clock.now()).total_seconds() if until is not None else 0
    if left > 0:
        raise SecondFactorLocked(retry_after=math.ceil(left))


async def count_wrong_code(session: AsyncSession, user_id: UUID) -> int:
    """Count a wrong code, which locks the codes if it is the fifth in a row or a later one.

    Returns how many it makes in a row; the account is locked.
    """
    statement = select(CodeLock.failures).where(CodeLock.user_id == user_id)
    failures = ((await session.execute(statement)).scalar_one_or_none() or 0) + 1
    values = {"failures": failures, "locked_until": clock.now() + length_of_lock(failures)}
    lock = insert(CodeLock).values(user_id=user_id, **values)
    await session.execute(
        lock.on_conflict_do_update(index_elements=[CodeLock.user_id], set_=values)
    )
    return failures


def length_of_lock(failures: int) -> timedelta:
    """Return for how long so many wrong codes in a row lock codes."""
    if failures < FAILURES_MAX:
        return timedelta()
    # Bounded, because the power of any number would not fit into a duration.
    doublings = min(failures - FAILURES_MAX, (LONGEST // FIRST).bit_length())
    return min(LONGEST, FIRST * (1 << doublings))


async def delete_old_locks(session: AsyncSession, before: datetime) -> int:
    """Delete the locks that ended before a time, CLEANUP_BATCH at most, and return their number."""
    old = select(CodeLock.user_id).where(CodeLock.locked_until < before).limit(CLEANUP_BATCH)
    ids = old.with_for_update(skip_locked=True)
    return await execute_count(session, delete(CodeLock).where(CodeLock.user_id.in_(ids)))
