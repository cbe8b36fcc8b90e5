"""The account behind an access token, as it is at this moment: looked up for each request."""

from typing import Final, cast

from sqlalchemy import Table, select

from service import clock
from service.auth.models import LoginSession, User
from service.auth.rows import UserRow
from service.auth.tokens import Claims
from service.db.query import KeyedQuery
from service.db.read_session import ReadSession

_table: Final = cast(Table, LoginSession.__table__)
_sessions: Final = _table.c
_users: Final = User.__table__.c

_caller: Final = KeyedQuery(
    select(
        _users.id,
        _users.email,
        _users.username,
        _users.is_active,
        _users.is_admin,
        _users.email_verified_at.is_not(None).label("email_verified"),
        _users.created_at,
        # Not a condition: without statistics the planner reads the index of the live for it, whole.
        _users.deleted_at,
        _sessions.expires_at,
    )
    .join_from(_table, User.__table__, _users.id == _sessions.user_id)
    .where(_sessions.ended_at.is_(None)),
    _sessions.id,
)


async def find_caller(session: ReadSession, claims: Claims) -> UserRow | None:
    """Read the account of a live session, disabled or not; None when there is no such session."""
    found = await session.fetch_by_key(_caller, claims.session_id)
    if found is None or found.id != claims.user_id:
        return None
    if found.deleted_at is not None or found.expires_at <= clock.now():
        return None
    return found
