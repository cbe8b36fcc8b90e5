"""The login sessions of an account: listed, ended and, when over, deleted."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, cast
from uuid import UUID

from sqlalchemy import Table, any_, bindparam, case, delete, func, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from service import clock
from service.audit.events import Kind, own_event, record_own, recorded
from service.auth import errors
from service.auth.models import LoginSession
from service.auth.rows import SessionRow
from service.auth.schemas import SessionOut
from service.db.autocommit import Autocommit
from service.db.base import UtcDateTime
from service.db.database import execute_count
from service.db.query import CompiledWrite
from service.web.client import Origin

LISTED_MAX: Final = 500
CLEANUP_BATCH: Final = 5_000

# Tables, not entities, because the ORM's part of a statement would cost more than PostgreSQL's.
_table: Final = cast(Table, LoginSession.__table__)
_sessions: Final = _table.c
# Conditions that statements share.
ID: Final = _sessions.id == bindparam("session_id")
OF_USER: Final = _sessions.user_id == bindparam("user_id")
NOW: Final = bindparam("now", type_=UtcDateTime)
LIVE: Final = (_sessions.ended_at.is_(None), _sessions.expires_at > NOW)


# Since the session was opened, unless its user proved again who they are.
AUTHENTICATED_AT: Final = func.coalesce(_sessions.authenticated_at, _sessions.created_at).label(
    "authenticated_at"
)
_SHOWN: Final = [
    AUTHENTICATED_AT if name == "authenticated_at" else _sessions[name]
    for name in SessionOut.model_fields
    if name != "current"
]


async def list_sessions(session: AsyncSession, user_id: UUID) -> Sequence[SessionRow]:
    """Return an account's live login sessions, the last used first, LISTED_MAX at most."""
    statement = (
        select(*_SHOWN)
        .where(OF_USER, *LIVE)
        .order_by(_sessions.last_used_at.desc(), _sessions.id.desc())
        .limit(LISTED_MAX)
    )
    return (await session.execute(statement, {"user_id": user_id, "now": clock.now()})).all()


_ended: Final = (
    update(_table)
    .where(ID, OF_USER, *LIVE)
    .values(ended_at=NOW)
    .returning(_sessions.id)
    .cte("ended")
)
_END_ONE: Final = CompiledWrite(select(recorded(_ended).c.id))


async def revoke_session(db: Autocommit, user_id: UUID, session_id: UUID, origin: Origin) -> None:
    """End one of an account's live login sessions, committed at the return.

    Raises SessionNotFound.
    """
    event = own_event(Kind.SESSION_ENDED, user_id, origin, {"session_id": str(session_id)})
    values = {"session_id": session_id, "user_id": user_id, "now": clock.now(), **event}
    if await db.write(_END_ONE, values) is None:
        raise errors.SessionNotFound


async def revoke_sessions(
    session: AsyncSession, user_id: UUID, origin: Origin, *, keep: UUID | None = None
) -> None:
    """End all of an account's login sessions but the one to keep; the account is locked."""
    own = [_sessions.user_id == user_id]
    if keep is not None:
        own.append(_sessions.id != keep)
    ended = await end_sessions(session, clock.now(), *own)
    if ended:
        await record_own(session, Kind.SESSION_ENDED, user_id, origin, {"sessions": ended})


async def end_sessions(session: AsyncSession, now: datetime, *where: ColumnElement[bool]) -> int:
    """End the login sessions that meet conditions, and return their number."""
    statement = update(_table).where(*where, _sessions.ended_at.is_(None)).values(ended_at=now)
    return await execute_count(session, statement)


async def make_fresh(
    session: AsyncSession, user_id: UUID, session_id: UUID, method: str
) -> datetime:
    """Note that a live session's user has just proved by a method who they are; return since when.

    Raises SessionGone.
    """
    now, methods = clock.now(), _sessions.methods
    known = literal(method) == any_(methods)
    own = _sessions.id == session_id, _sessions.user_id == user_id
    live = _sessions.ended_at.is_(None), _sessions.expires_at > now
    shown = case((known, methods), else_=func.array_append(methods, method))
    statement = update(_table).where(*own, *live)
    if not await execute_count(session, statement.values(authenticated_at=now, methods=shown)):
        raise errors.SessionGone
    return now


async def delete_expired_sessions(session: AsyncSession, now: datetime) -> int:
    """Delete login sessions that are over, CLEANUP_BATCH at most, and return their number."""
    # Without its row a login session is as refused as one that is over.
    over = or_(_sessions.expires_at <= now, _sessions.ended_at.is_not(None))
    ids = select(_sessions.id).where(over).limit(CLEANUP_BATCH).with_for_update(skip_locked=True)
    return await execute_count(session, delete(_table).where(_sessions.id.in_(ids)))
