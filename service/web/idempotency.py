"""Idempotency keys: a user's write that is repeated with its key within 24 hours runs once."""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pydantic import BaseModel
from quart import Response, request
from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    String,
    Text,
    bindparam,
    cast,
    delete,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from service import clock
from service.db.base import AnyRow, Base, Id, UtcDateTime
from service.db.synchronous import require_replication
from service.errors import BadRequest, Conflict, ServiceError


class IdempotencyKey(Base):
    """The stored response to a user's write."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[UUID] = mapped_column(
        Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int] = mapped_column(SmallInteger)
    headers: Mapped[dict[str, str]] = mapped_column(JSONB)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (Index(None, created_at),)


HEADER: Final = "Idempotency-Key"
LIFETIME: Final = timedelta(hours=24)
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_STORED_HEADERS: Final = ("Content-Type", "Location", "ETag")


class InvalidIdempotencyKey(BadRequest):
    """The key is not 1 to 255 visible ASCII characters."""

    default_message = "Idempotency-Key takes 1 to 255 visible ASCII characters"


class IdempotencyKeyReused(ServiceError):
    """The key was used for another body."""

    status = 422
    default_message = "This Idempotency-Key was used with another body"


class IdempotencyKeyInUse(Conflict):
    """The first request with this key is still in progress."""

    default_message = "A request with this Idempotency-Key is under way"


ERRORS: Final = (InvalidIdempotencyKey, IdempotencyKeyReused, IdempotencyKeyInUse)

_try_lock: Final = select(func.pg_try_advisory_xact_lock(bindparam("lock")))


def read_key() -> str | None:
    """Return the request's key, or None without the header. Raises InvalidIdempotencyKey."""
    keys = request.headers.getlist(HEADER)
    if not keys:
        return None
    if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
        raise InvalidIdempotencyKey
    return keys[0]


def digest_of(data: BaseModel) -> bytes:
    """Return what tells the body of a key's first request from others."""
    return hashlib.sha256(json.dumps(data.model_dump(), sort_keys=True).encode()).digest()


async def once(
    session: AsyncSession,
    user_id: UUID,
    key: str,
    digest: bytes,
    write: Callable[[AsyncSession], Awaitable[Response]],
) -> Response:
    """Return the response of a user's write, which runs once for a key, in the session.

    `digest` is that of the body. Raises IdempotencyKeyReused or IdempotencyKeyInUse.
    """
    stored = await _claim_key(session, user_id, key)
    if stored is not None:
        response = _replay(stored, digest)
        await require_replication(session)
        return response
    response = await write(session)
    await _store(session, user_id, key, digest, response)
    return response


async def _claim_key(session: AsyncSession, user_id: UUID, key: str) -> AnyRow | None:
    # The lock comes before the SELECT, so that the second of two requests at once either gets no
    # lock or sees the row of the first.
    if not (await session.execute(_try_lock, {"lock": _lock_of(user_id, key)})).scalar_one():
        raise IdempotencyKeyInUse
    statement = select(
        IdempotencyKey.digest, IdempotencyKey.status, IdempotencyKey.headers, IdempotencyKey.body
    ).where(
        IdempotencyKey.user_id == user_id,
        IdempotencyKey.key == key,
        IdempotencyKey.created_at > clock.now() - LIFETIME,
    )
    return (await session.execute(statement)).one_or_none()


def _lock_of(user_id: UUID, key: str) -> int:
    digest = hashlib.sha256(user_id.bytes + key.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


# The parts of a statement that claims a key, writes and stores the response; their parameters are
# those of `claim`. The lock is tried before what selects from it, because it is volatile.
LOCKED: Final = select(
    func.pg_try_advisory_xact_lock(bindparam("lock", type_=BigInteger)).label("held")
).cte("locked")


_columns: Final = IdempotencyKey.__table__.c
_sent_user_id: Final = bindparam("caller_id", type_=Id)
_sent_key: Final = bindparam("key", type_=_columns.key.type)
# So that a repetition writes nothing.
KNOWN: Final = (
    select(_columns.key).where(_columns.user_id == _sent_user_id, _columns.key == _sent_key)
).exists()


def stored(row: CTE, body: ColumnElement[bytes]) -> CTE:
    """Return the part of a statement that stores a 201 with `body` for each row of another.

    A key that is known, an expired one too, is an error (23505), which undoes the statement.
    """
    sent = {
        "user_id": _sent_user_id,
        "key": _sent_key,
        "digest": bindparam("digest", type_=_columns.digest.type),
        "status": literal(201, _columns.status.type),
        # As text, because the driver takes no other JSON.
        "headers": cast(bindparam("headers", type_=Text), JSONB),
        "body": body,
        "created_at": bindparam("claimed_at", type_=UtcDateTime),
    }
    rows = select(*sent.values()).select_from(row)
    statement = insert(IdempotencyKey).from_select(list(sent), rows)
    return statement.returning(_columns.body).cte("stored")


def claim(
    user_id: UUID, key: str, digest: bytes, headers: Mapping[str, str]
) -> Mapping[str, object]:
    """Return the parameters of LOCKED and `stored`."""
    return {
        "lock": _lock_of(user_id, key),
        "caller_id": user_id,
        "key": key,
        "digest": digest,
        "headers": json.dumps(headers),
        "claimed_at": clock.now(),
    }


def _replay(stored: AnyRow, digest: bytes) -> Response:
    if stored.digest != digest:
        raise IdempotencyKeyReused
    return Response(stored.body, stored.status, {**stored.headers, "Idempotency-Replayed": "true"})


async def _store(
    session: AsyncSession, user_id: UUID, key: str, digest: bytes, response: Response
) -> None:
    headers = {name: response.headers[name] for name in _STORED_HEADERS if name in response.headers}
    values = {
        "digest": digest,
        "status": response.status_code,
        "headers": headers,
        "body": await response.get_data(as_text=False),
        "created_at": clock.now(),
    }
    statement = insert(IdempotencyKey).values(user_id=user_id, key=key, **values)
    # Only an expired key can conflict.
    await session.execute(
        statement.on_conflict_do_update(index_elements=["user_id", "key"], set_=values)
    )


async def delete_expired_keys(session: AsyncSession, now: datetime, *, limit: int = 1_000) -> int:
    """Delete expired keys, `limit` at most, and return their number."""
    expired = select(IdempotencyKey.user_id, IdempotencyKey.key).where(
        IdempotencyKey.created_at <= now - LIFETIME
    )
    chosen = tuple_(IdempotencyKey.user_id, IdempotencyKey.key).in_(
        expired.limit(limit).with_for_update(skip_locked=True)
    )
    deleted = delete(IdempotencyKey).where(chosen).returning(IdempotencyKey.key)
    return len((await session.scalars(deleted)).all())
