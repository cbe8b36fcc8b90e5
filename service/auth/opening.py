"""The opening of a login session, with its event, by one statement."""

from collections.abc import Mapping, Sequence
from typing import Final, cast

from sqlalchemy import Table, bindparam, insert, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.audit.events import Kind, own_event, recorded
from service.auth.models import LoginSession, User
from service.auth.refresh_tokens import (
    TOKEN,
    RefreshToken,
    SessionPolicy,
    new_token,
    token_columns,
    token_parameters,
)
from service.auth.rows import SignInState
from service.db.autocommit import Autocommit
from service.db.base import Id, UtcDateTime
from service.db.query import CompiledWrite
from service.ids import new_id
from service.web.client import Origin

# Tables, not entities, because the ORM's part of a statement would cost more than PostgreSQL's.
_table: Final = cast(Table, LoginSession.__table__)
_sessions: Final = _table.c
_users: Final = User.__table__.c

# Of an account, so that one statement can end all. A client that logs in each minute has as many
# after a week: what it then ends was not used for that long.
LIVE_MAX: Final = 10_000
ENDED_MAX: Final = 5_000
PASSWORD_ALONE: Final = ("password",)


# The account is locked against change, so that a change of the password or of a factor, which ends
# sessions, cannot miss the new one.
UNCHANGED: Final = (
    select(_users.id)
    .where(
        _users.id == bindparam("account_id", type_=Id),
        _users.deleted_at.is_(None),
        _users.password_changed_at == bindparam("password_changed_at"),
        _users.sign_in_epoch == bindparam("sign_in_epoch"),
    )
    .with_for_update(read=True)
    .cte("unchanged")
)
# Not named like columns: a session would write those into the UPDATE, too.
_created_at: Final = bindparam("opened_at", type_=UtcDateTime)
_opened: Final = (
    insert(_table)
    .from_select(
        ["user_id", "id", "created_at", "methods", *TOKEN],
        select(
            UNCHANGED.c.id,
            bindparam("session_id", type_=Id),
            _created_at,
            bindparam("opened_by", type_=_sessions.methods.type),
            *TOKEN.values(),
        ),
    )
    .returning(_sessions.id)
    .cte("opened")
)
_beyond_maximum: Final = (
    select(_sessions.id)
    .where(_sessions.user_id == select(UNCHANGED.c.id).scalar_subquery())
    .where(_sessions.ended_at.is_(None))
    .order_by(_sessions.last_used_at.desc(), _sessions.id.desc())
    .offset(literal_column(str(LIVE_MAX - 1)))  # the statement does not see the new one
    .limit(literal_column(str(ENDED_MAX)))
)
_ended: Final = (
    update(_table).where(_sessions.id.in_(_beyond_maximum)).values(ended_at=_created_at)
).cte("ended")
_OPEN: Final = CompiledWrite(select(recorded(_opened).c.id).add_cte(_ended))


def state_parameters(user: SignInState) -> dict[str, object]:
    """Return the parameters of UNCHANGED, by which an account is as it was read."""
    return {
        "account_id": user.id,
        "password_changed_at": user.password_changed_at,
        "sign_in_epoch": user.sign_in_epoch,
    }


async def open_session(
    db: Autocommit | AsyncSession,
    user: SignInState,
    policy: SessionPolicy,
    origin: Origin,
    *,
    methods: Sequence[str] = PASSWORD_ALONE,
) -> RefreshToken | None:
    """Open a login session with its event, committed at the return, or with the transaction.

    `user` is the account as it was when its user proved, by `methods`, who they are. Of more than
    LIVE_MAX sessions the one that was used longest ago ends. Returns None when the account's
    password, email, factors or state changed since, or it is deleted.
    """
    now = clock.now()
    token = new_token(user.id, new_id(), now, created_at=now, policy=policy)
    detail = {"session_id": str(token.session_id), "methods": list(methods)}
    event = own_event(Kind.LOGIN_SUCCEEDED, user.id, origin, detail)
    values = {
        **state_parameters(user),
        "opened_at": now,
        "opened_by": list(methods),
        "session_id": token.session_id,
        **token_parameters(token_columns(token, origin)),
        **event,
    }
    return token if await _write(db, values) else None


async def _write(db: Autocommit | AsyncSession, values: Mapping[str, object]) -> object:
    if isinstance(db, Autocommit):
        return await db.write(_OPEN, values)
    return (await db.execute(_OPEN.statement, values)).one_or_none()
