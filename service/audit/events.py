"""Security events, recorded in the transaction of the action, or in its one statement.

A failed login leaves an event alone. A reused refresh token, which is refused and still ends its
session, raises an error type that keeps its changes.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Select,
    SQLColumnExpression,
    Text,
    bindparam,
    cast,
    delete,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.audit.models import SecurityEvent
from service.db.autocommit import Autocommit
from service.db.database import execute_count
from service.db.query import CompiledWrite
from service.ids import new_id
from service.web.client import Origin
from service.web.pagination import Position, Slice, follows, newest_first

CLEANUP_BATCH: Final = 1_000


class Kind(StrEnum):
    """The kind of a security event."""

    ACCOUNT_REGISTERED = "account.registered"
    ACCOUNT_DISABLED = "account.disabled"
    ACCOUNT_ENABLED = "account.enabled"
    ACCOUNT_DELETED = "account.deleted"
    LOGIN_SUCCEEDED = "login.succeeded"
    LOGIN_FAILED = "login.failed"
    REFRESH_REUSED = "refresh.reused"
    SESSION_ENDED = "session.ended"
    PASSWORD_CHANGED = "password.changed"  # noqa: S105
    PASSWORD_RESET = "password.reset"  # noqa: S105
    EMAIL_VERIFIED = "email.verified"
    EMAIL_CHANGED = "email.changed"
    ADMIN_GRANTED = "admin.granted"
    ADMIN_REVOKED = "admin.revoked"
    SECOND_FACTOR_ENABLED = "second_factor.enabled"
    SECOND_FACTOR_DISABLED = "second_factor.disabled"
    SECOND_FACTOR_FAILED = "second_factor.failed"
    SECOND_FACTOR_LOCKED = "second_factor.locked"
    SECOND_FACTOR_RESET = "second_factor.reset"
    RECOVERY_CODES_CREATED = "recovery_codes.created"
    RECOVERY_CODES_USED = "recovery_codes.used"
    IDENTITY_LINKED = "identity.linked"
    IDENTITY_UNLINKED = "identity.unlinked"
    PASSKEY_ADDED = "passkey.added"
    PASSKEY_REMOVED = "passkey.removed"
    PASSKEY_CLONED = "passkey.cloned"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    KEY_EXPIRED = "key.expired"
    SESSION_STEPPED_UP = "session.stepped_up"
    POST_REMOVED = "post.removed"
    POST_RESTORED = "post.restored"
    JOB_RETRIED = "job.retried"


_insert: Final = insert(SecurityEvent)
_PERSONAL: Final = or_(
    SecurityEvent.ip.is_not(None), SecurityEvent.user_agent.is_not(None), SecurityEvent.detail != {}
)
_columns_of_table: Final = SecurityEvent.__table__.c
_sent: Final[dict[str, ColumnElement[Any]]] = {
    name: bindparam(f"event_{name}", type_=_columns_of_table[name].type)
    for name in ("id", "kind", "user_id", "actor_id", "created_at", "ip", "user_agent")
}
# As text, because the driver takes no other JSON.
_sent["detail"] = cast(bindparam("event_detail", type_=Text), JSONB)
_RECORD: Final = CompiledWrite(_insert.values(_sent).returning(_columns_of_table.id))


async def record(
    session: AsyncSession,
    kind: Kind,
    *,
    user_id: UUID | None,
    actor_id: UUID | None,
    origin: Origin,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Record what `actor_id` did to the account `user_id`; None stands for an unknown one.

    `detail` is JSON and must hold no secret.
    """
    await record_each(
        session, kind, [detail or {}], user_id=user_id, actor_id=actor_id, origin=origin
    )


async def record_each(
    session: AsyncSession,
    kind: Kind,
    details: Sequence[Mapping[str, object]],
    *,
    user_id: UUID | None,
    actor_id: UUID | None,
    origin: Origin,
) -> None:
    """Record an event for each detail; parameters as in `record`."""
    events = [
        {**_columns(kind, user_id, actor_id, origin), "detail": _with_key(detail, origin)}
        for detail in details
    ]
    if events:
        await session.execute(_insert, events)


def _with_key(detail: Mapping[str, object], origin: Origin) -> dict[str, object]:
    """Return a detail that names the API key of the request, if one authenticated it."""
    key = {} if origin.key_id is None else {"key_id": str(origin.key_id)}
    return {**key, **detail}


def _columns(
    kind: Kind, user_id: UUID | None, actor_id: UUID | None, origin: Origin
) -> dict[str, object]:
    return {
        "id": new_id(),
        "kind": kind.value,
        "user_id": user_id,
        "actor_id": actor_id,
        "created_at": clock.now(),
        "ip": origin.ip,
        "user_agent": origin.user_agent,
    }


def recorded(change: CTE) -> CTE:
    """Return the part of a statement that records an event for each row of its change.

    The event's parameters are those of `own_event`.
    """
    rows = select(*_sent.values()).select_from(change)
    statement = _insert.from_select(list(_sent), rows)
    return statement.returning(_columns_of_table.id).cte("event")


def own_event(
    kind: Kind, user_id: UUID, origin: Origin, detail: Mapping[str, object]
) -> dict[str, object]:
    """Return the parameters of `recorded` for what a user did to their own account."""
    return _parameters(_columns(kind, user_id, user_id, origin), _with_key(detail, origin))


def _parameters(event: Mapping[str, object], detail: Mapping[str, object]) -> dict[str, object]:
    named = {f"event_{name}": value for name, value in event.items()}
    return {**named, "event_detail": json.dumps(detail)}


async def record_alone(
    db: Autocommit,
    kind: Kind,
    *,
    user_id: UUID | None,
    actor_id: UUID | None,
    origin: Origin,
    detail: Mapping[str, object],
) -> None:
    """Record what happened without another change, such as a refusal; committed at the return.

    Parameters as in `record`.
    """
    event = _columns(kind, user_id, actor_id, origin)
    await db.write(_RECORD, _parameters(event, _with_key(detail, origin)))


async def record_own(
    session: AsyncSession,
    kind: Kind,
    user_id: UUID,
    origin: Origin,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Record what a user did to their own account."""
    await record(session, kind, user_id=user_id, actor_id=user_id, origin=origin, detail=detail)


async def list_events(
    session: AsyncSession,
    *,
    user_id: UUID | None,
    kind: Kind | None,
    limit: int,
    after: Position | None,
) -> Slice:
    """Return security events, newest first: of an account, of a kind, or all."""
    statement = select(*SecurityEvent.__table__.c).order_by(*newest_first(SecurityEvent))
    if user_id is not None:
        statement = statement.where(SecurityEvent.user_id == user_id)
    if kind is not None:
        statement = statement.where(SecurityEvent.kind == kind.value)
    if after is not None:
        statement = statement.where(follows(SecurityEvent))
    rows = await session.execute(statement.limit(limit + 1), after.values if after else {})
    return Slice.cut(list(rows.all()), limit)


def has_personal_data(user_id: SQLColumnExpression[UUID]) -> ColumnElement[bool]:
    """Return the condition that personal data is in the events of an account."""
    return select(SecurityEvent.id).where(SecurityEvent.user_id == user_id, _PERSONAL).exists()


async def anonymise(session: AsyncSession, user_ids: Select[UUID]) -> int:
    """Remove the personal data from events of accounts, and return the number of these events.

    CLEANUP_BATCH events at most; what happened stays.
    """
    personal = select(SecurityEvent.id).where(SecurityEvent.user_id.in_(user_ids), _PERSONAL)
    statement = update(SecurityEvent).where(SecurityEvent.id.in_(personal.limit(CLEANUP_BATCH)))
    return await execute_count(session, statement.values(ip=None, user_agent=None, detail={}))


async def delete_old_events(session: AsyncSession, before: datetime) -> int:
    """Delete events from before a time, CLEANUP_BATCH at most, and return their number."""
    old = select(SecurityEvent.id).where(SecurityEvent.created_at < before)
    # From the oldest on, along the index.
    oldest = old.order_by(SecurityEvent.created_at, SecurityEvent.id).limit(CLEANUP_BATCH)
    return await execute_count(session, delete(SecurityEvent).where(SecurityEvent.id.in_(oldest)))
