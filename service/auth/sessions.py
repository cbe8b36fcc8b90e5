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

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, cast
from uuid import UUID

from sqlalchemy import Select, Table, bindparam, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from service import clock
from service.audit.events import Kind, record, record_own
from service.auth import errors
from service.auth.models import LoginSession, User
from service.auth.rows import RefreshRow, SessionRow
from service.auth.schemas import SessionOut
from service.auth.tokens import Claims
from service.db.database import execute_count
from service.ids import new_id
from service.settings import Settings
from service.web.client import Origin

LISTED_MAX: Final = 500
# Of an account, so that one statement can end all. A client that logs in each minute has as many
# after a week: what it then ends was not used for that long.
LIVE_MAX: Final = 10_000
CLEANUP_BATCH: Final = 5_000


class RefreshOutcome(Enum):
    """What follows from a refresh token, by the module's table."""

    GONE = "gone"
    EXPIRED = "expired"
    REUSED = "reused"
    DISABLED = "disabled"
    REPEATED = "repeated"
    CURRENT = "current"


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """How long login sessions live, and the grace for a spent refresh token."""

    life: timedelta
    max_age: timedelta
    grace: timedelta

    @classmethod
    def of(cls, settings: Settings) -> "SessionPolicy":
        """Return the policy of the settings."""
        return cls(
            life=timedelta(seconds=settings.jwt_refresh_token_expires),
            max_age=timedelta(seconds=settings.session_max_age),
            grace=timedelta(seconds=settings.refresh_reuse_grace),
        )


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """The live refresh token of a login session, before it is signed."""

    user_id: UUID
    session_id: UUID
    token_id: UUID
    issued_at: datetime
    expires_at: datetime


# Tables, not entities, because the ORM's part of a statement would cost more than PostgreSQL's.
_table: Final = cast(Table, LoginSession.__table__)
_sessions: Final = _table.c
_users: Final = User.__table__.c
_id: Final = _sessions.id == bindparam("session_id")
_of_user: Final = _sessions.user_id == bindparam("user_id")
_LIVE: Final = (_sessions.ended_at.is_(None), _sessions.expires_at > bindparam("now"))

_locked: Final = (
    select(*_sessions, _users.is_active, _users.deleted_at)
    .join_from(_table, User.__table__, _users.id == _sessions.user_id)
    .where(_id, _of_user)
    .with_for_update(of=_table)
)


async def open_session(
    session: AsyncSession,
    user_id: UUID,
    policy: SessionPolicy,
    origin: Origin,
    *,
    password_changed_at: datetime,
) -> RefreshToken | None:
    """Open a login session, or return None when the password changed or the account is deleted.

    Of more than LIVE_MAX sessions the one that was used longest ago ends.

    The account is locked against change, so that a change of the password, which ends all
    sessions, cannot miss the new one.
    """
    unchanged = select(_users.id).where(
        _users.id == user_id,
        _users.deleted_at.is_(None),
        _users.password_changed_at == password_changed_at,
    )
    if (await session.execute(unchanged.with_for_update(read=True))).one_or_none() is None:
        return None
    now = clock.now()
    token = _new_token(user_id, new_id(), now, created_at=now, policy=policy)
    own = {"id": token.session_id, "user_id": user_id, "created_at": now}
    await session.execute(insert(_table), {**own, **_columns(token, origin)})
    await _end(session, now, _sessions.id.in_(_beyond_maximum(user_id)))
    return token


def _beyond_maximum(user_id: UUID) -> Select[UUID]:
    return (
        select(_sessions.id)
        .where(_sessions.user_id == user_id, _sessions.ended_at.is_(None))
        .order_by(_sessions.last_used_at.desc(), _sessions.id.desc())
        .offset(LIVE_MAX)
        .limit(CLEANUP_BATCH)
    )


def _new_token(
    user_id: UUID, session_id: UUID, now: datetime, *, created_at: datetime, policy: SessionPolicy
) -> RefreshToken:
    expires_at = min(now + policy.life, created_at + policy.max_age)
    return RefreshToken(user_id, session_id, new_id(), now, expires_at)


def _columns(token: RefreshToken, origin: Origin) -> dict[str, object]:
    """Return the columns of a login session that each new refresh token sets."""
    return {
        "token_id": token.token_id,
        "token_issued_at": token.issued_at,
        "last_used_at": token.issued_at,
        "expires_at": token.expires_at,
        "ip": origin.ip,
        "user_agent": origin.user_agent,
    }


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
    token = _new_token(row.user_id, row.id, now, created_at=row.created_at, policy=policy)
    spent = {"previous_token_id": row.token_id, "rotated_at": now}
    rotate = update(_table).where(_sessions.id == row.id)
    await session.execute(rotate, {**spent, **_columns(token, origin)})
    return token


async def _revoke_reused(
    session: AsyncSession, claims: Claims, now: datetime, origin: Origin
) -> None:
    await _end(session, now, _sessions.id == claims.session_id)
    detail = {"session_id": str(claims.session_id)}
    owner = claims.user_id  # the actor is the owner or a thief
    kind = Kind.REFRESH_REUSED
    await record(session, kind, user_id=owner, actor_id=None, origin=origin, detail=detail)


async def list_sessions(session: AsyncSession, user_id: UUID) -> Sequence[SessionRow]:
    """Return an account's live login sessions, the last used first, LISTED_MAX at most."""
    statement = (
        select(*(_sessions[name] for name in SessionOut.model_fields if name != "current"))
        .where(_of_user, *_LIVE)
        .order_by(_sessions.last_used_at.desc(), _sessions.id.desc())
        .limit(LISTED_MAX)
    )
    return (await session.execute(statement, {"user_id": user_id, "now": clock.now()})).all()


async def revoke_session(
    session: AsyncSession, user_id: UUID, session_id: UUID, origin: Origin
) -> None:
    """End one of an account's live login sessions. Raises SessionNotFound."""
    now = clock.now()
    own = (_sessions.id == session_id, _sessions.user_id == user_id, _sessions.expires_at > now)
    if not await _end(session, now, *own):
        raise errors.SessionNotFound
    detail = {"session_id": str(session_id)}
    await record_own(session, Kind.SESSION_ENDED, user_id, origin, detail)


async def revoke_sessions(
    session: AsyncSession, user_id: UUID, origin: Origin, *, keep: UUID | None = None
) -> None:
    """End all of an account's login sessions but the one to keep."""
    own = [_sessions.user_id == user_id]
    if keep is not None:
        own.append(_sessions.id != keep)
    ended = await _end(session, clock.now(), *own)
    if ended:
        await record_own(session, Kind.SESSION_ENDED, user_id, origin, {"sessions": ended})


async def _end(session: AsyncSession, now: datetime, *where: ColumnElement[bool]) -> int:
    statement = update(_table).where(*where, _sessions.ended_at.is_(None)).values(ended_at=now)
    return await execute_count(session, statement)


async def delete_expired_sessions(session: AsyncSession, now: datetime) -> int:
    """Delete login sessions that are over, CLEANUP_BATCH at most, and return their number."""
    # Without its row a login session is as refused as one that is over.
    over = or_(_sessions.expires_at <= now, _sessions.ended_at.is_not(None))
    ids = select(_sessions.id).where(over).limit(CLEANUP_BATCH).with_for_update(skip_locked=True)
    return await execute_count(session, delete(_table).where(_sessions.id.in_(ids)))
