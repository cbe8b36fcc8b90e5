"""Logins whose password was right and that wait for a second factor, by their tokens.

A login token opens one session, and only together with a factor. It is worthless once the password,
email, factors or state of its account have changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, cast

from sqlalchemy import Table, bindparam, delete, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.auth.opening import PASSWORD_ALONE, UNCHANGED, state_parameters
from service.auth.passkeys.models import Passkey
from service.auth.rows import SignInState
from service.auth.second_factor.models import LoginToken, RecoveryCode, Totp
from service.db.autocommit import Autocommit
from service.db.base import UtcDateTime
from service.db.database import execute_count
from service.db.query import CompiledWrite
from service.ids import new_token

LIFE: Final = 300  # seconds
FAILURES_MAX: Final = 5
CLEANUP_BATCH: Final = 5_000

_table: Final = cast(Table, LoginToken.__table__)
_tokens: Final = _table.c


@dataclass(frozen=True, slots=True)
class WaitingLogin:
    """The token of a login that waits, and the factors that the account has."""

    token: str
    factors: Sequence[str]


def digest_of(token: str) -> bytes:
    """Return what is stored of a login token."""
    return sha256(token.encode()).digest()


_waiting: Final = (
    insert(_table)
    .from_select(
        ["user_id", "digest", "methods", "sign_in_epoch", "expires_at"],
        select(
            UNCHANGED.c.id,
            bindparam("digest", type_=_tokens.digest.type),
            bindparam("methods", type_=_tokens.methods.type),
            bindparam("sign_in_epoch", type_=_tokens.sign_in_epoch.type),
            bindparam("expires_at", type_=UtcDateTime),
        ),
    )
    .returning(_tokens.user_id)
    .cte("waiting")
)


def _has(table: type[Totp] | type[Passkey] | type[RecoveryCode]) -> Any:
    return exists().where(table.user_id == _waiting.c.user_id)


_OPEN: Final = CompiledWrite(
    select(
        _has(Totp).label("totp"),
        _has(Passkey).label("passkey"),
        _has(RecoveryCode).label("recovery_code"),
    ).select_from(_waiting)
)


async def open_waiting_login(
    db: Autocommit, user: SignInState, methods: Sequence[str] = PASSWORD_ALONE
) -> WaitingLogin | None:
    """Open a login that waits for its second factor, committed at the return.

    `user` is the account as it was when its user proved, by `methods`, who they are. Returns None
    when its password, email, factors or state changed since.
    """
    token = new_token()
    values = {
        **state_parameters(user),
        "digest": digest_of(token),
        "methods": list(methods),
        "expires_at": clock.now() + timedelta(seconds=LIFE),
    }
    factors = await db.write(_OPEN, values)
    if factors is None:
        return None
    return WaitingLogin(token, [name for name, has_it in factors.items() if has_it])


async def count_failure(session: AsyncSession, digest: bytes) -> None:
    """Count a wrong proof that was shown with a login token."""
    failed = update(_table).where(_tokens.digest == digest)
    await session.execute(failed.values(failures=_tokens.failures + 1))


async def spend(session: AsyncSession, digest: bytes) -> bool:
    """Spend a login token, and return whether it was still there."""
    return await execute_count(session, delete(_table).where(_tokens.digest == digest)) == 1


async def delete_expired_tokens(session: AsyncSession, now: datetime) -> int:
    """Delete login tokens that have expired, CLEANUP_BATCH at most, and return their number."""
    expired = select(_tokens.digest).where(_tokens.expires_at <= now).limit(CLEANUP_BATCH)
    digests = expired.with_for_update(skip_locked=True)
    return await execute_count(session, delete(_table).where(_tokens.digest.in_(digests)))
