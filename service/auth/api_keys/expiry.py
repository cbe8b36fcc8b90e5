"""The end of API keys: their owners are informed before it and at it, each once."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, cast

from sqlalchemy import Select, Table, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.audit.events import Kind, record
from service.auth.api_keys.models import ApiKey
from service.auth.credentials import NOT_DELETED
from service.auth.models import User
from service.auth.owners import notify_owner
from service.clock import rfc3339
from service.db.base import AnyRow
from service.db.database import execute_count
from service.notices.notices import Notice
from service.web.client import INTERNAL

WARNING: Final = timedelta(days=7)
BATCH: Final = 100
CLEANUP_BATCH: Final = 1_000

_table: Final = cast(Table, ApiKey.__table__)
_keys: Final = _table.c


def _take(*conditions: Any) -> Select[*tuple[Any, ...]]:
    """Return a query of keys that no other worker has taken."""
    columns = (_keys.id, _keys.user_id, _keys.name, _keys.hint, _keys.expires_at)
    return (
        select(*columns)
        .join_from(_table, User.__table__, User.id == _keys.user_id)
        .where(NOT_DELETED, *conditions)
        .order_by(_keys.expires_at)
        .limit(BATCH)
        .with_for_update(of=_table, skip_locked=True)
    )


async def _mark(session: AsyncSession, taken: Sequence[AnyRow], **values: datetime) -> None:
    if taken:
        ids = [key.id for key in taken]
        await session.execute(update(_table).where(_keys.id.in_(ids)).values(**values))


async def warn_of_ends(session: AsyncSession, now: datetime) -> int:
    """Inform the owners of keys that end within WARNING, BATCH at most, and return their number.

    Of a key that was made for a shorter time its owner knows.
    """
    near = (_keys.expires_at > now, _keys.expires_at <= now + WARNING)
    unwarned = (_keys.warned_at.is_(None), _keys.created_at < _keys.expires_at - WARNING)
    taken = (await session.execute(_take(*near, *unwarned))).all()
    await _mark(session, taken, warned_at=now)
    for key in taken:
        end = rfc3339(key.expires_at)
        await notify_owner(
            session, key.user_id, Notice.KEY_ENDS_SOON, name=key.name, hint=key.hint, end=end
        )
    return len(taken)


async def report_ends(session: AsyncSession, now: datetime) -> int:
    """Record that keys ended and inform their owners, BATCH at most, and return their number."""
    unreported = _keys.ended_at.is_(None)
    taken = (await session.execute(_take(_keys.expires_at <= now, unreported))).all()
    await _mark(session, taken, ended_at=now)
    for key in taken:
        await record(
            session,
            Kind.KEY_EXPIRED,
            user_id=key.user_id,
            actor_id=None,
            origin=INTERNAL,
            detail={"key_id": str(key.id)},
        )
        await notify_owner(session, key.user_id, Notice.KEY_ENDED, name=key.name, hint=key.hint)
    return len(taken)


async def delete_ended_keys(session: AsyncSession, before: datetime) -> int:
    """Delete keys that ended before a time, CLEANUP_BATCH at most, and return their number."""
    ended = select(_keys.id).where(_keys.expires_at <= before, _keys.ended_at.is_not(None))
    chosen = ended.limit(CLEANUP_BATCH).with_for_update(skip_locked=True)
    return await execute_count(session, delete(_table).where(_keys.id.in_(chosen)))
