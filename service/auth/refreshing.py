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

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, cast
from uuid import UUID

from sqlalchemy import Interval, Table, bindparam, func, insert, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.audit.events import Kind, own_event, record, recorded
from service.auth import errors
from service.auth.models import LoginSession, User
from service.auth.rows import RefreshRow
from service.auth.sessions import ID, LIVE, NOW, OF_USER, end_sessions
from service.auth.tokens import Claims
from service.db.autocommit import Autocommit
from service.db.base import Id, UtcDateTime
from service.db.database import require_replication
from service.db.query import CompiledWrite
from service.ids import new_id
from service.settings import Settings
from service.web.client import Origin

# Tables, not entities, because the ORM's part of a statement would cost more than PostgreSQL's.
_table: Final = cast(Table, LoginSession.__table__)
_sessions: Final = _table.c
_users: Final = User.__table__.c

# Of an account, so that one statement can end all. A client that logs in each minute has as many
# after a week: what it then ends was not used for that long.
LIVE_MAX: Final = 10_000
ENDED_MAX: Final = 5_000


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


_locked: Final = (
    select(*_sessions, _users.is_active, _users.deleted_at)
    .join_from(_table, User.__table__, _users.id == _sessions.user_id)
    .where(ID, OF_USER)
    .with_for_update(of=_table)
)


# The account is locked against change, so that a change of the password, which ends all sessions,
# cannot miss the new one.
_unchanged: Final = (
    select(_users.id)
    .where(
        _users.id == bindparam("user_id", type_=Id),
        _users.deleted_at.is_(None),
        _users.password_changed_at == bindparam("password_changed_at"),
    )
    .with_for_update(read=True)
    .cte("unchanged")
)
_TOKEN: Final = {
    name: bindparam(f"new_{name}", type_=_sessions[name].type)
    for name in ("token_id", "token_issued_at", "last_used_at", "expires_at", "ip", "user_agent")
}
_created_at: Final = bindparam("created_at", type_=UtcDateTime)
_opened: Final = (
    insert(_table)
    .from_select(
        ["user_id", "id", "created_at", *_TOKEN],
        select(_unchanged.c.id, bindparam("session_id", type_=Id), _created_at, *_TOKEN.values()),
    )
    .returning(_sessions.id)
    .cte("opened")
)
_beyond_maximum: Final = (
    select(_sessions.id)
    .where(_sessions.user_id == select(_unchanged.c.id).scalar_subquery())
    .where(_sessions.ended_at.is_(None))
    .order_by(_sessions.last_used_at.desc(), _sessions.id.desc())
    .offset(literal_column(str(LIVE_MAX - 1)))  # the statement does not see the new one
    .limit(literal_column(str(ENDED_MAX)))
)
_ended: Final = (
    update(_table).where(_sessions.id.in_(_beyond_maximum)).values(ended_at=_created_at)
).cte("ended")
_OPEN: Final = CompiledWrite(select(recorded(_opened).c.id).add_cte(_ended))


async def open_session(
    db: Autocommit,
    user_id: UUID,
    policy: SessionPolicy,
    origin: Origin,
    *,
    password_changed_at: datetime,
) -> RefreshToken | None:
    """Open a login session with its event, committed at the return.

    Of more than LIVE_MAX sessions the one that was used longest ago ends. Returns None when the
    password has changed or the account is deleted.
    """
    now = clock.now()
    token = _new_token(user_id, new_id(), now, created_at=now, policy=policy)
    state = {"user_id": user_id, "password_changed_at": password_changed_at, "created_at": now}
    detail = {"session_id": str(token.session_id)}
    event = own_event(Kind.LOGIN_SUCCEEDED, user_id, origin, detail)
    own = {"session_id": token.session_id, **_parameters(_columns(token, origin)), **event}
    return token if await db.write(_OPEN, {**state, **own}) else None


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


def _parameters(columns: Mapping[str, object]) -> dict[str, object]:
    return {f"new_{name}": value for name, value in columns.items()}


_rotated: Final = (
    update(_table)
    .where(ID, OF_USER, _sessions.token_id == bindparam("token_id", type_=Id), *LIVE)
    .where(_users.id == _sessions.user_id, _users.is_active, _users.deleted_at.is_(None))
    .values(
        {name: _TOKEN[name] for name in ("token_id", "ip", "user_agent")}
        | {
            "previous_token_id": _sessions.token_id,
            "rotated_at": NOW,
            "token_issued_at": NOW,
            "last_used_at": NOW,
            "expires_at": func.least(
                bindparam("longest", type_=UtcDateTime),
                _sessions.created_at + bindparam("max_age", type_=Interval),
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
        "max_age": policy.max_age,
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
    token = _new_token(row.user_id, row.id, now, created_at=row.created_at, policy=policy)
    spent = {"previous_token_id": row.token_id, "rotated_at": now}
    rotate = update(_table).where(_sessions.id == row.id)
    await session.execute(rotate, {**spent, **_columns(token, origin)})
    return token


async def _revoke_reused(
    session: AsyncSession, claims: Claims, now: datetime, origin: Origin
) -> None:
    await end_sessions(session, now, _sessions.id == claims.session_id)
    detail = {"session_id": str(claims.session_id)}
    owner = claims.user_id  # the actor is the owner or a thief
    kind = Kind.REFRESH_REUSED
    await record(session, kind, user_id=owner, actor_id=None, origin=origin, detail=detail)
