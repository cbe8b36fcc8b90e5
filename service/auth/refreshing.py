"""Login sessions and the rotation of their refresh tokens.

A login session's row has its current refresh token and the one that was spent for it. A refresh
locks the row, so that requests that race come one after the other: the first rotates, the others
find their token just spent. The outcome follows from the row and the token, checked in this order:

    no such session, or its account is deleted      GONE      401
    the session was ended                           GONE      401
    the session's time is over                      EXPIRED   401
    token is neither current nor previous           REUSED    the session ends, 401
    token is previous, spent over the grace ago     REUSED    the session ends, 401
    the account is disabled                         DISABLED  403
    token is previous, spent within the grace       REPEATED  the same new refresh token again
    token is current                                CURRENT   rotates: previous ← current ← new

The same refresh token has the same bytes, because it is rebuilt from its id and times in the row.
There is never a second live refresh token, because the row has one. A session that has ended stays
ended. Each rotation moves the end, at most to the absolute end.
"""

from datetime import datetime, timedelta
from enum import Enum
from typing import Final, cast
from uuid import UUID

from sqlalchemy import Double, Table, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.audit.events import Kind, record
from service.auth import errors
from service.auth.models import LoginSession, User
from service.auth.refresh_tokens import TOKEN, RefreshToken, SessionPolicy, new_token, token_columns
from service.auth.rows import RefreshRow
from service.auth.sessions import ID, LIVE, NOW, OF_USER, end_sessions
from service.auth.tokens import Claims
from service.db.autocommit import Autocommit
from service.db.base import Id, UtcDateTime
from service.db.query import CompiledWrite
from service.db.synchronous import require_replication
from service.ids import new_id
from service.web.client import Origin

# Tables, not entities, because the ORM's part of a statement would cost more than PostgreSQL's.
_table: Final = cast(Table, LoginSession.__table__)
_sessions: Final = _table.c
_users: Final = User.__table__.c


class RefreshOutcome(Enum):
    """What follows from a refresh token, by the module's table."""

    GONE = "gone"
    EXPIRED = "expired"
    REUSED = "reused"
    DISABLED = "disabled"
    REPEATED = "repeated"
    CURRENT = "current"


_locked: Final = (
    select(*_sessions, _users.is_active, _users.deleted_at)
    .join_from(_table, User.__table__, _users.id == _sessions.user_id)
    .where(ID, OF_USER)
    .with_for_update(of=_table)
)


_rotated: Final = (
    update(_table)
    .where(ID, OF_USER, _sessions.token_id == bindparam("token_id", type_=Id), *LIVE)
    .where(_users.id == _sessions.user_id, _users.is_active, _users.deleted_at.is_(None))
    .values(
        {name: TOKEN[name] for name in ("token_id", "ip", "user_agent")}
        | {
            "previous_token_id": _sessions.token_id,
            "rotated_at": NOW,
            "token_issued_at": NOW,
            "last_used_at": NOW,
            "expires_at": func.least(
                bindparam("longest", type_=UtcDateTime),
                # Hours, not days, which have other lengths where clocks change.
                _sessions.created_at
                + func.make_interval(0, 0, 0, 0, 0, 0, bindparam("max_age", type_=Double)),
            ),
        }
    )
    .returning(_sessions.expires_at)
)
_ROTATE: Final = CompiledWrite(_rotated)


async def rotate(
    db: Autocommit, claims: Claims, policy: SessionPolicy, origin: Origin
) -> RefreshToken | None:
    """Return the next refresh token for the CURRENT one of the module's table, committed.

    Returns None for every other outcome, which `refresh` finds.
    """
    now, token_id = clock.now(), new_id()
    values = {
        "session_id": claims.session_id,
        "user_id": claims.user_id,
        "token_id": claims.token_id,
        "now": now,
        "longest": now + policy.life,
        "max_age": policy.max_age.total_seconds(),
        "new_token_id": token_id,
        "new_ip": origin.ip,
        "new_user_agent": origin.user_agent,
    }
    row = await db.write(_ROTATE, values)
    if row is None:
        return None
    return RefreshToken(claims.user_id, claims.session_id, token_id, now, row.expires_at)


async def refresh(
    session: AsyncSession, claims: Claims, policy: SessionPolicy, origin: Origin
) -> RefreshToken:
    """Return the refresh token that follows the one shown, by the module's table.

    Raises SessionGone, SessionExpired, RefreshReused or AccountDisabled.
    """
    values = {"session_id": claims.session_id, "user_id": claims.user_id}
    row: RefreshRow | None = (await session.execute(_locked, values)).one_or_none()
    if row is None:
        raise errors.SessionGone
    now = clock.now()  # after the wait for the lock
    match classify(row, claims.token_id, now, policy.grace):
        case RefreshOutcome.CURRENT:
            return await _rotate(session, row, now, policy, origin)
        case RefreshOutcome.REPEATED:
            await require_replication(session)
            live = (row.token_id, row.token_issued_at, row.expires_at)
            return RefreshToken(row.user_id, row.id, *live)
        case RefreshOutcome.REUSED:
            await _revoke_reused(session, claims, now, origin)
            raise errors.RefreshReused
        case RefreshOutcome.DISABLED:
            raise errors.AccountDisabled
        case RefreshOutcome.EXPIRED:
            raise errors.SessionExpired
        case RefreshOutcome.GONE:
            raise errors.SessionGone


def classify(row: RefreshRow, token_id: UUID, now: datetime, grace: timedelta) -> RefreshOutcome:
    """Return the outcome of a refresh token for its login session, by the module's table."""
    if row.deleted_at is not None or row.ended_at is not None:
        return RefreshOutcome.GONE
    if row.expires_at <= now:
        return RefreshOutcome.EXPIRED
    repeated = (
        token_id == row.previous_token_id
        and row.rotated_at is not None
        and now - row.rotated_at <= grace
    )
    if token_id != row.token_id and not repeated:
        return RefreshOutcome.REUSED
    if not row.is_active:
        return RefreshOutcome.DISABLED
    return RefreshOutcome.REPEATED if repeated else RefreshOutcome.CURRENT


async def _rotate(
    session: AsyncSession, row: RefreshRow, now: datetime, policy: SessionPolicy, origin: Origin
) -> RefreshToken:
    token = new_token(row.user_id, row.id, now, created_at=row.created_at, policy=policy)
    spent = {"previous_token_id": row.token_id, "rotated_at": now}
    rotate = update(_table).where(_sessions.id == row.id)
    await session.execute(rotate, {**spent, **token_columns(token, origin)})
    return token


async def _revoke_reused(
    session: AsyncSession, claims: Claims, now: datetime, origin: Origin
) -> None:
    await end_sessions(session, now, _sessions.id == claims.session_id)
    detail = {"session_id": str(claims.session_id)}
    owner = claims.user_id  # the actor is the owner or a thief
    kind = Kind.REFRESH_REUSED
    await record(session, kind, user_id=owner, actor_id=None, origin=origin, detail=detail)
