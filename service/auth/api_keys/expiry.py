"""The end of API keys: their owners are informed before it and at it, each once."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, cast

from sqlalchemy import ColumnElement, Table, delete, select, update
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


async def _take(
    session: AsyncSession, *conditions: ColumnElement[bool], **mark: datetime
) -> Sequence[AnyRow]:
    """Return keys that meet conditions and that no other worker has taken, marked.

    In the order of their owners, so that two workers inform the same ones in the same order.
    """
    columns = (_keys.id, _keys.user_id, _keys.name, _keys.hint, _keys.expires_at)
    chosen = (
        select(*columns)
        .join_from(_table, User.__table__, User.id == _keys.user_id)
        .where(NOT_DELETED, *conditions)
        .order_by(_keys.expires_at)
        .limit(BATCH)
        .with_for_update(of=_table, skip_locked=True)
    )
    taken = (await session.execute(chosen)).all()
    if taken:
        ids = [key.id for key in taken]
        await session.execute(update(_table).where(_keys.id.in_(ids)).values(**mark))
    return sorted(taken, key=lambda key: (key.user_id, key.expires_at))


async def warn_of_ends(session: AsyncSession, now: datetime) -> int:
    """Inform the owners of keys that end within WARNING, BATCH at most, and return their number.

    Of a key that was made for a shorter time its owner knows.
    """
    near = (_keys.expires_at > now, _keys.expires_at <= now + WARNING)
    unwarned = (_keys.warned_at.is_(None), _keys.created_at < _keys.expires_at - WARNING)
    taken = await _take(session, *near, *unwarned, warned_at=now)
    for key in taken:
        end = rfc3339(key.expires_at)
        await notify_owner(
            session, key.user_id, Notice.KEY_ENDS_SOON, name=key.name, hint=key.hint, end=end
        )
    return len(taken)


async def report_ends(session: AsyncSession, now: datetime) -> int:
    """Record that keys ended and inform their owners, BATCH at most, and return their number."""
    ended = (_keys.expires_at <= now, _keys.ended_at.is_(None))
    taken = await _take(session, *ended, ended_at=now)
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
