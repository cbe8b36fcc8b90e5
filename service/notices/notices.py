"""Notices: mails that inform an account's owner of a change that matters for its security.

A notice is a job of the transaction that makes the change. An account gets DAILY_MAX of them on a
day, in UTC, so that nobody floods its owner; what an operator does is always reported. The ends of
keys, which come by themselves, leave room for what somebody does.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import Table, delete, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.canonical import email_key
from service.db.database import execute_count
from service.ids import new_id
from service.jobs.queue import enqueue
from service.notices.models import NoticeCount

NOTICE_JOB: Final = "notice"
DAILY_MAX: Final = 20
ROUTINE_MAX: Final = 10  # a notice of routine is not sent after so many of any kind
# Longer than any day lasts somewhere, whatever the clocks of the machines say.
COUNTS_KEPT: Final = timedelta(days=2)
CLEANUP_BATCH: Final = 5_000

_counts: Final = cast(Table, NoticeCount.__table__).c


class Notice(StrEnum):
    """What a notice informs of."""

    EMAIL_CHANGED = "email changed"
    SECOND_FACTOR_ON = "second factor on"
    SECOND_FACTOR_OFF = "second factor off"
    SECOND_FACTOR_RESET = "second factor reset"
    SECOND_FACTOR_LOCKED = "second factor locked"
    AUTHENTICATOR_REPLACED = "authenticator app replaced"
    RECOVERY_CODES_MADE = "recovery codes made"
    RECOVERY_CODE_USED = "recovery code used"
    IDENTITY_LINKED = "identity linked"
    IDENTITY_UNLINKED = "identity unlinked"
    PASSKEY_ADDED = "passkey added"
    PASSKEY_REMOVED = "passkey removed"
    PASSKEY_CLONED = "passkey cloned"
    KEY_MADE = "key made"
    KEY_ENDS_SOON = "key ends soon"
    KEY_ENDED = "key ended"
    KEY_REVOKED = "key revoked"
    KEYS_REVOKED = "keys revoked"


# What operators do.
_UNCOUNTED: Final = frozenset({Notice.SECOND_FACTOR_RESET})
# What nobody does.
_ROUTINE: Final = frozenset({Notice.KEY_ENDS_SOON, Notice.KEY_ENDED})


async def send_notice(
    session: AsyncSession, user_id: UUID, email: str, notice: Notice, **detail: str
) -> None:
    """Enqueue a notice in the session's transaction; `detail` fills its text.

    Beyond DAILY_MAX on a day nothing is sent, and no end of a key beyond ROUTINE_MAX.
    """
    now = clock.now()
    most = ROUTINE_MAX if notice in _ROUTINE else DAILY_MAX
    if notice not in _UNCOUNTED and not await _count(session, user_id, now, most):
        return
    payload = notice_payload(email, notice, now, detail)
    await enqueue(session, NOTICE_JOB, payload, to=email_key(email))


def notice_payload(
    email: str, notice: Notice, at: datetime, detail: Mapping[str, str]
) -> dict[str, Any]:
    """Return the payload of a notice's job."""
    return {
        "id": str(new_id()),
        "to": email,
        "notice": notice.value,
        "at": at.isoformat(),
        "detail": dict(detail),
    }


async def _count(session: AsyncSession, user_id: UUID, now: datetime, most: int) -> bool:
    """Count a notice of an account; return False when there were `most` or more on this day."""
    first = insert(NoticeCount).values(user_id=user_id, day=now.date(), notices=1)
    # The row stays locked until the commit: of notices at once each sees those before it.
    statement = first.on_conflict_do_update(
        index_elements=[_counts.user_id, _counts.day],
        set_={"notices": _counts.notices + 1},
        where=_counts.notices < most,
    ).returning(_counts.notices)
    return (await session.execute(statement)).one_or_none() is not None


async def delete_old_counts(session: AsyncSession, now: datetime) -> int:
    """Delete the counts of past days, CLEANUP_BATCH at most, and return their number."""
    row = tuple_(_counts.user_id, _counts.day)
    past = select(_counts.user_id, _counts.day).where(_counts.day < (now - COUNTS_KEPT).date())
    old = past.limit(CLEANUP_BATCH).with_for_update(skip_locked=True)
    return await execute_count(session, delete(NoticeCount).where(row.in_(old)))
