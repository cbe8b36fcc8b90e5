"""The API keys of an account: made, listed and revoked."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Table, bindparam, delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.audit.events import Kind, own_event, record, record_each, record_own, recorded
from service.auth.account_lock import require_live
from service.auth.api_keys import form
from service.auth.api_keys.models import ApiKey
from service.auth.api_keys.schemas import ApiKeyOut
from service.auth.api_keys.scopes import OF_ADMINS, Scope
from service.auth.credentials import NOT_DELETED
from service.auth.errors import (
    AccountDisabled,
    AdminRequired,
    EmailUnverified,
    KeyLimit,
    KeyNotFound,
    SessionGone,
)
from service.auth.models import User
from service.auth.owners import notify_owner
from service.db.autocommit import Autocommit
from service.db.base import AnyRow
from service.db.query import CompiledWrite
from service.db.synchronous import require_replication
from service.ids import new_id
from service.notices.notices import Notice
from service.web.client import INTERNAL, Origin

LIVE_MAX: Final = 50  # of an account
EXPIRED_LISTED_MAX: Final = 500

_table: Final = cast(Table, ApiKey.__table__)
_keys: Final = _table.c
_SHOWN: Final = [_keys[name] for name in ApiKeyOut.model_fields]


class KeyRequest(NamedTuple):
    """A key that is to be made."""

    name: str
    scopes: Sequence[Scope]
    expires_at: datetime | None
    second_factor: bool


def _live(now: datetime) -> ColumnElement[bool]:
    return or_(_keys.expires_at.is_(None), _keys.expires_at > now)


async def create_key(
    session: AsyncSession,
    user_id: UUID,
    session_id: UUID,
    request: KeyRequest,
    prefix: str,
    origin: Origin,
) -> tuple[AnyRow, str]:
    """Make a key for the account of a login session; return its row and the key itself.

    Raises AccountDisabled, AdminRequired, EmailUnverified, KeyLimit or SessionGone.
    """
    now = clock.now()
    await _lock_owner(session, user_id, request.scopes)
    # Only now, because both may have changed while the lock was waited for.
    await require_live(session, session_id)
    live = select(func.count()).where(_keys.user_id == user_id, _live(now))
    if (await session.execute(live)).scalar_one() >= LIVE_MAX:
        raise KeyLimit
    key = form.new_key(prefix)
    row = (await session.execute(_INSERT, _columns(user_id, request, prefix, key, now))).one()
    detail = {"key_id": str(row.id), "scopes": list(request.scopes)}
    await record_own(session, Kind.KEY_CREATED, user_id, origin, detail)
    await notify_owner(session, user_id, Notice.KEY_MADE, name=row.name, hint=row.hint)
    return row, key


_INSERT: Final = insert(_table).returning(*_SHOWN)


def _columns(
    user_id: UUID, request: KeyRequest, prefix: str, key: str, now: datetime
) -> Mapping[str, object]:
    digest = form.digest_of(key)
    return {
        "id": new_id(),
        "user_id": user_id,
        "name": request.name,
        "scopes": list(request.scopes),
        "hint": form.hint_of(prefix, key),
        "lookup": form.lookup_of(digest),
        "digest": digest,
        "second_factor": request.second_factor,
        "created_at": now,
        "expires_at": request.expires_at,
    }


async def _lock_owner(session: AsyncSession, user_id: UUID, scopes: Sequence[Scope]) -> None:
    """Lock an account, and check that it may have a key with these scopes."""
    columns = (User.is_active, User.is_admin, User.email_verified_at)
    locked = select(*columns).where(User.id == user_id, NOT_DELETED)
    owner = (await session.execute(locked.with_for_update(key_share=True))).one_or_none()
    if owner is None:
        raise SessionGone
    if not owner.is_active:
        raise AccountDisabled
    if owner.email_verified_at is None:
        raise EmailUnverified
    if not owner.is_admin and not OF_ADMINS.isdisjoint(scopes):
        raise AdminRequired


async def list_keys(session: AsyncSession, user_id: UUID, retention: timedelta) -> Sequence[AnyRow]:
    """Return an account's keys, newest first, expired ones for a while.

    All live ones, and EXPIRED_LISTED_MAX expired ones: many of these must not hide a live one.
    """
    now, newest_first = clock.now(), (_keys.created_at.desc(), _keys.id.desc())
    expired = select(_keys.id).where(
        _keys.user_id == user_id, _keys.expires_at <= now, _keys.expires_at > now - retention
    )
    listed = expired.order_by(*newest_first).limit(EXPIRED_LISTED_MAX)
    statement = select(*_SHOWN).where(
        _keys.user_id == user_id, or_(_live(now), _keys.id.in_(listed))
    )
    return (await session.execute(statement.order_by(*newest_first))).all()


_one: Final = delete(_table).where(
    _keys.id == bindparam("key_id"), _keys.user_id == bindparam("user_id")
)
_alive: Final = or_(
    _keys.expires_at.is_(None), _keys.expires_at > bindparam("now", type_=_keys.expires_at.type)
)
_revoked: Final = _one.where(_alive).returning(_keys.id).cte("deleted")
_REVOKE_ONE: Final = CompiledWrite(select(recorded(_revoked).c.id))
_expired: Final = _one.returning(_keys.id, _keys.ended_at).cte("deleted")
_unreported: Final = select(_expired.c.id).where(_expired.c.ended_at.is_(None)).cte("unreported")
_DELETE_EXPIRED: Final = CompiledWrite(select(_expired.c.id).add_cte(recorded(_unreported)))


async def revoke_key(db: Autocommit, user_id: UUID, key_id: UUID, origin: Origin) -> None:
    """Revoke one of an account's keys, committed at the return. Raises KeyNotFound."""
    key, detail = {"key_id": key_id, "user_id": user_id}, {"key_id": str(key_id)}
    event = own_event(Kind.KEY_REVOKED, user_id, origin, detail)
    if await db.write(_REVOKE_ONE, {**key, "now": clock.now(), **event}) is not None:
        return
    # As the worker would have recorded it.
    event = {**own_event(Kind.KEY_EXPIRED, user_id, INTERNAL, detail), "event_actor_id": None}
    if await db.write(_DELETE_EXPIRED, {**key, **event}) is None:
        raise KeyNotFound


async def revoke_keys(
    session: AsyncSession, user_id: UUID, actor_id: UUID | None, origin: Origin
) -> int:
    """Revoke all keys of an account, and return how many of them had not ended."""
    revoked = await _end(session, await _lock(session, _keys.user_id == user_id))
    details = [{"key_id": str(row.id)} for row in revoked]
    await record_each(
        session, Kind.KEY_REVOKED, details, user_id=user_id, actor_id=actor_id, origin=origin
    )
    return len(revoked)


async def revoke_found_keys(
    session: AsyncSession, found: Sequence[str], prefix: str, origin: Origin
) -> None:
    """Revoke the keys among texts that somebody found, and inform their owners."""
    digests = {
        form.lookup_of(digest): digest
        for digest in (form.digest_of(text) for text in found if form.is_key(prefix, text))
    }
    if not digests:
        return
    locked = [
        row
        for row in await _lock(session, _keys.lookup.in_(digests))
        if compare_digest(row.digest, digests[row.lookup])
    ]
    if not locked:  # another request may have revoked them
        await require_replication(session)
    for row in await _end(session, sorted(locked, key=lambda row: (row.user_id, row.id))):
        detail = {"key_id": str(row.id), "by": "finder"}
        # Who holds a key is not known by it.
        await record(
            session,
            Kind.KEY_REVOKED,
            user_id=row.user_id,
            actor_id=None,
            origin=origin,
            detail=detail,
        )
        await notify_owner(session, row.user_id, Notice.KEY_REVOKED, name=row.name, hint=row.hint)


async def forget_keys(session: AsyncSession, user_id: UUID) -> None:
    """Delete the keys of an account that is being deleted."""
    await _delete(session, await _lock(session, _keys.user_id == user_id))


async def _lock(session: AsyncSession, condition: ColumnElement[bool]) -> Sequence[AnyRow]:
    """Lock the keys that meet a condition, in the order in which all that locks several does."""
    names = ("id", "user_id", "name", "hint", "lookup", "digest", "expires_at", "ended_at")
    statement = (
        select(*(_keys[name] for name in names))
        .where(condition)
        .order_by(_keys.id)
        .with_for_update()
    )
    return (await session.execute(statement)).all()


async def _end(session: AsyncSession, locked: Sequence[Any]) -> Sequence[Any]:
    """Delete keys and return the live ones; record of the others that they expired, each once."""
    now, live = clock.now(), []
    for row in await _delete(session, locked):
        if row.expires_at is None or row.expires_at > now:
            live.append(row)
        elif row.ended_at is None:
            await record(
                session,
                Kind.KEY_EXPIRED,
                user_id=row.user_id,
                actor_id=None,
                origin=INTERNAL,
                detail={"key_id": str(row.id)},
            )
    return live


async def _delete(session: AsyncSession, locked: Sequence[Any]) -> Sequence[Any]:
    if locked:
        ids = [row.id for row in locked]
        await session.execute(delete(_table).where(_keys.id.in_(ids)))
    return locked
