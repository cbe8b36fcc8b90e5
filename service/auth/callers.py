"""The account of an access token, looked up for each request."""

from typing import Final, cast

from sqlalchemy import Table, select

from service import clock
from service.auth.credentials import COLUMNS
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
        *COLUMNS,
        # Not in WHERE, for which the planner without statistics would read another index whole.
        _users.deleted_at,
        _sessions.expires_at,
    )
    .join_from(_table, User.__table__, _users.id == _sessions.user_id)
    .where(_sessions.ended_at.is_(None)),
    _sessions.id,
)


async def find_caller(session: ReadSession, claims: Claims) -> UserRow | None:
    """Return the account of a live login session, even a disabled one, or None."""
    row = await session.fetch_by_key(_caller, claims.session_id)
    if row is None or row.id != claims.user_id:
        return None
    if row.deleted_at is not None or row.expires_at <= clock.now():
        return None
    return row
