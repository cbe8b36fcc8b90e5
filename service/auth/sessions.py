"""Sessions: a login and the refresh tokens that come of it, one after the other.

A session's row knows its current refresh token and the one that was spent for it. Whoever shows a
refresh token meets the row under its lock, so that however many race, they come one after the
other: the first rotates, the others find their token spent a moment ago. The answer follows from
the row and the token, looked at in this order:

    no such session, or its account is deleted      GONE      401
    the session was ended                           GONE      401
    the session's time is over                      EXPIRED   401
    token is neither current nor previous           REUSED    the session ends, 401
    token is previous, spent over the grace ago     REUSED    the session ends, 401
    the account is disabled                         DISABLED  403
    token is previous, spent within the grace       REPEATED  the same new refresh token again
    token is current                                CURRENT   rotates: previous ← current ← new

"Again" is to the byte: a refresh token is rebuilt from its id and times, which the row keeps.
There is never a second live refresh token, for the row has room for one. A session that ended
stays ended. The end slides with each rotation and stops at the absolute end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, cast
from uuid import UUID

from sqlalchemy import Table, bindparam, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from service import clock
from service.audit.events import Kind, record, record_own
from service.auth.errors import (
    AccountDisabled,
    RefreshReused,
    SessionExpired,
    SessionGone,
    SessionNotFound,
)
from service.auth.models import LoginSession, User
from service.auth.rows import RefreshRow, SessionRow
from service.auth.tokens import Claims
from service.db.database import execute_count
from service.ids import new_id
from service.settings import Settings
from service.web.client import Origin

LISTED_MAX: Final = 500
CLEANUP_BATCH: Final = 5_000


class RefreshOutcome(Enum):
    """What a refresh token is worth; see the module's table."""

    GONE = "gone"
    EXPIRED = "expired"
    REUSED = "reused"
    DISABLED = "disabled"
    REPEATED = "repeated"
    CURRENT = "current"


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """How long sessions live, and how long a spent token may be shown again."""

    life: timedelta
    max_age: timedelta
    grace: timedelta

    @classmethod
    def of(cls, settings: Settings) -> "SessionPolicy":
        """The rules that the settings lay down."""
        return cls(
            life=timedelta(seconds=settings.jwt_refresh_token_expires),
            max_age=timedelta(seconds=settings.session_max_age),
            grace=timedelta(seconds=settings.refresh_reuse_grace),
        )


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """All that a session's live refresh token is made of."""

    user_id: UUID
    session_id: UUID
    token_id: UUID
    issued_at: datetime
    expires_at: datetime


# Tables, not entities: the ORM's part of a statement would cost more than PostgreSQL's.
_table: Final = cast(Table, LoginSession.__table__)
_sessions: Final = _table.c
_users: Final = User.__table__.c
_id: Final = _sessions.id == bindparam("session_id")
_owned: Final = _sessions.user_id == bindparam("user_id")
_LIVE: Final = (_sessions.ended_at.is_(None), _sessions.expires_at > bindparam("now"))

_locked: Final = (
    select(*_sessions, _users.is_active, _users.deleted_at)
    .join_from(_table, User.__table__, _users.id == _sessions.user_id)
    .where(_id, _owned)
    .with_for_update(of=_table)
)


async def open_session(
    session: AsyncSession, user_id: UUID, rules: SessionPolicy, origin: Origin, **account: object
) -> RefreshToken | None:
    """Open a session; `account` names columns of the account and the values they must have.

    The account is locked against change: a session that a changed password should have ended is
    not opened behind its back. None when the account is no longer as it was.
    """
    seen = [getattr(_users, name) == value for name, value in account.items()]
    unchanged = select(_users.id).where(_users.id == user_id, _users.deleted_at.is_(None), *seen)
    if (await session.execute(unchanged.with_for_update(read=True))).one_or_none() is None:
        return None
    now = clock.now()
    token = _new_token(user_id, new_id(), now, created_at=now, rules=rules)
    values = {
        "id": token.session_id,
        "user_id": user_id,
        "token_id": token.token_id,
        "token_issued_at": now,
        "created_at": now,
        "last_used_at": now,
        "expires_at": token.expires_at,
        "ip": origin.ip,
        "user_agent": origin.user_agent,
    }
    await session.execute(insert(_table), values)
    return token


def _new_token(
    user_id: UUID, session_id: UUID, now: datetime, *, created_at: datetime, rules: SessionPolicy
) -> RefreshToken:
    expires_at = min(now + rules.life, created_at + rules.max_age)
    return RefreshToken(user_id, session_id, new_id(), now, expires_at)


async def refresh(
    session: AsyncSession, claims: Claims, rules: SessionPolicy, origin: Origin
) -> RefreshToken:
    """Spend a refresh token for the next one, by the module's table.

    Raises SessionGone, SessionExpired, RefreshReused or AccountDisabled.
    """
    values = {"session_id": claims.session_id, "user_id": claims.user_id}
    row: RefreshRow | None = (await session.execute(_locked, values)).one_or_none()
    if row is None:
        raise SessionGone
    now = clock.now()  # after the wait for the lock
    match classify(row, claims.token_id, now, rules.grace):
        case RefreshOutcome.CURRENT:
            return await _rotate(session, row, now, rules, origin)
        case RefreshOutcome.REPEATED:
            return _live_token(row)
        case RefreshOutcome.REUSED:
            await _revoke_reused(session, claims, now, origin)
            raise RefreshReused
        case RefreshOutcome.DISABLED:
            raise AccountDisabled
        case RefreshOutcome.EXPIRED:
            raise SessionExpired
        case RefreshOutcome.GONE:
            raise SessionGone


def classify(row: RefreshRow, token_id: UUID, now: datetime, grace: timedelta) -> RefreshOutcome:
    """Return the outcome of a refresh by the module's table, for a session that exists."""
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
    session: AsyncSession, row: RefreshRow, now: datetime, rules: SessionPolicy, origin: Origin
) -> RefreshToken:
    token = _new_token(row.user_id, row.id, now, created_at=row.created_at, rules=rules)
    values = {
        "token_id": token.token_id,
        "token_issued_at": now,
        "previous_token_id": row.token_id,
        "rotated_at": now,
        "last_used_at": now,
        "expires_at": token.expires_at,
        "ip": origin.ip,
        "user_agent": origin.user_agent,
    }
    await session.execute(update(_table).where(_sessions.id == row.id), values)
    return token


def _live_token(row: RefreshRow) -> RefreshToken:
    return RefreshToken(row.user_id, row.id, row.token_id, row.token_issued_at, row.expires_at)


async def _revoke_reused(
    session: AsyncSession, claims: Claims, now: datetime, origin: Origin
) -> None:
    await _end(session, now, _sessions.id == claims.session_id)
    await record(
        session,
        Kind.REFRESH_REUSED,
        user_id=claims.user_id,
        actor_id=None,  # the owner, or whoever stole the token
        origin=origin,
        detail={"session_id": str(claims.session_id)},
    )


async def list_sessions(session: AsyncSession, user_id: UUID) -> Sequence[SessionRow]:
    """Read an account's live sessions, the last used first, LISTED_MAX at most."""
    statement = (
        select(
            _sessions.id,
            _sessions.created_at,
            _sessions.last_used_at,
            _sessions.expires_at,
            _sessions.ip,
            _sessions.user_agent,
        )
        .where(_owned, *_LIVE)
        .order_by(_sessions.last_used_at.desc(), _sessions.id.desc())
        .limit(LISTED_MAX)
    )
    return (await session.execute(statement, {"user_id": user_id, "now": clock.now()})).all()


async def revoke_session(
    session: AsyncSession, user_id: UUID, session_id: UUID, origin: Origin
) -> None:
    """End one of an account's live sessions. Raises SessionNotFound."""
    now = clock.now()
    mine = (_sessions.id == session_id, _sessions.user_id == user_id, _sessions.expires_at > now)
    if not await _end(session, now, *mine):
        raise SessionNotFound
    detail = {"session_id": str(session_id)}
    await record_own(session, Kind.SESSION_ENDED, user_id, origin, detail)


async def revoke_sessions(
    session: AsyncSession, user_id: UUID, origin: Origin, *, keep: UUID | None = None
) -> None:
    """End all of an account's sessions but the one to keep."""
    mine = [_sessions.user_id == user_id]
    if keep is not None:
        mine.append(_sessions.id != keep)
    ended = await _end(session, clock.now(), *mine)
    if ended:
        await record_own(session, Kind.SESSION_ENDED, user_id, origin, {"sessions": ended})


async def _end(session: AsyncSession, now: datetime, *where: ColumnElement[bool]) -> int:
    statement = update(_table).where(*where, _sessions.ended_at.is_(None)).values(ended_at=now)
    return await execute_count(session, statement)


async def delete_expired_sessions(session: AsyncSession, now: datetime) -> int:
    """Delete sessions that are over, CLEANUP_BATCH at most, and return how many there were.

    Without its row a session is as gone as with it.
    """
    over = or_(_sessions.expires_at <= now, _sessions.ended_at.is_not(None))
    ids = select(_sessions.id).where(over).limit(CLEANUP_BATCH).with_for_update(skip_locked=True)
    return await execute_count(session, delete(_table).where(_sessions.id.in_(ids)))
