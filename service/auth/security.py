"""What protects an account beside its password, and how its session was opened: one statement."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, bindparam, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.auth.api_keys.models import ApiKey
from service.auth.credentials import HAS_PASSWORD
from service.auth.errors import SessionGone
from service.auth.external.models import Identity
from service.auth.models import LoginSession, User
from service.auth.passkeys.models import Passkey
from service.auth.second_factor.models import RecoveryCode, Totp
from service.auth.sessions import AUTHENTICATED_AT
from service.db.base import UtcDateTime

# The methods that a session was opened, or stepped up, with which are a second factor.
SECOND_FACTORS: Final = frozenset({"totp", "passkey", "security_key", "recovery_code"})

_sessions: Final = cast(Table, LoginSession.__table__).c
_users: Final = cast(Table, User.__table__).c
_totps: Final = cast(Table, Totp.__table__).c
# When the statement is executed.
_now: Final = bindparam(None, callable_=lambda: clock.now(), type_=UtcDateTime)
_LIVE_KEY: Final = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > _now)


_Owned = Totp | Passkey | RecoveryCode | Identity | ApiKey


class ProtectionRow(Protocol):
    """What protects an account beside its password."""

    @property
    def second_factor_at(self) -> datetime | None: ...
    @property
    def totp_created_at(self) -> datetime | None: ...
    @property
    def passkeys(self) -> int: ...
    @property
    def recovery_codes(self) -> int: ...
    @property
    def has_password(self) -> bool: ...
    @property
    def identities(self) -> int: ...
    @property
    def keys(self) -> int: ...


class SecurityRow(ProtectionRow, Protocol):
    """What protects an account, and how a session of it was opened."""

    @property
    def user_id(self) -> UUID: ...
    @property
    def sign_in_epoch(self) -> int: ...
    @property
    def methods(self) -> Sequence[str]: ...
    @property
    def authenticated_at(self) -> datetime: ...
    @property
    def totp_used_at(self) -> datetime | None: ...


def _count(table: type[_Owned], *live: Any) -> Any:
    rows = select(func.count()).where(table.user_id == _users.id, *live)
    return rows.correlate(User.__table__).scalar_subquery()


def _exists(table: type[_Owned], *live: Any) -> ColumnElement[bool]:
    return exists().where(table.user_id == _users.id, *live).correlate(User.__table__)


_PASSKEYS: Final = _count(Passkey).label("passkeys")
_RECOVERY_CODES: Final = _count(RecoveryCode).label("recovery_codes")
_IDENTITIES: Final = _count(Identity).label("identities")
_KEYS: Final = _count(ApiKey, _LIVE_KEY).label("keys")
_PASSWORD: Final = HAS_PASSWORD.label("has_password")
# The columns of a ProtectionRow, in a statement that has the account.
PROTECTION: Final = (
    _users.second_factor_at,
    select(_totps.created_at)
    .where(_totps.user_id == _users.id)
    .correlate(User.__table__)
    .scalar_subquery()
    .label("totp_created_at"),
    _PASSKEYS,
    _RECOVERY_CODES,
    _PASSWORD,
    _IDENTITIES,
    _KEYS,
)
# The condition that `uses_any` holds, in a statement that has the account.
USES_ANY: Final = or_(
    _users.second_factor_at.is_not(None),
    _exists(Totp),
    _exists(Passkey),
    _exists(Identity),
    _exists(ApiKey, _LIVE_KEY),
    ~HAS_PASSWORD,
)

_SECURITY: Final[Select[*tuple[Any, ...]]] = (
    select(
        _users.id.label("user_id"),
        _users.second_factor_at,
        _users.sign_in_epoch,
        _sessions.methods,
        AUTHENTICATED_AT,
        _totps.created_at.label("totp_created_at"),
        _totps.last_used_at.label("totp_used_at"),
        _PASSKEYS,
        _RECOVERY_CODES,
        _PASSWORD,
        _IDENTITIES,
        _KEYS,
    )
    .select_from(LoginSession.__table__)
    .join(User.__table__, _users.id == _sessions.user_id)
    .outerjoin(Totp.__table__, _totps.user_id == _users.id)
    .where(
        _sessions.id == bindparam("session_id"),
        _sessions.ended_at.is_(None),
        _sessions.expires_at > _now,
    )
)


async def find_security(session: AsyncSession, session_id: UUID) -> SecurityRow:
    """Return what protects the account of a live login session. Raises SessionGone (401).

    The session may have ended since the request was let in.
    """
    values = {"session_id": session_id}
    row: SecurityRow | None = (await session.execute(_SECURITY, values)).one_or_none()
    if row is None:
        raise SessionGone
    return row


def uses_any(security: ProtectionRow) -> bool:
    """Whether an account has more than a password, or none, so that changes need freshness."""
    factor = security.second_factor_at or security.totp_created_at or security.passkeys
    more = factor or security.identities or security.keys
    return bool(more or not security.has_password)


def step_up_methods(security: SecurityRow) -> list[str]:
    """Return by what the account's sessions step up."""
    passkey = ["passkey"] if security.passkeys else []
    if security.second_factor_at is None:
        password = ["password"] if security.has_password else []
        # Without anything to show here, its user signs in again.
        return [*password, *passkey] or ["login"]
    codes = ["code"] if security.totp_created_at else []
    return [*codes, *passkey, *(["recovery_code"] if security.recovery_codes else [])]


def fresh_until(security: SecurityRow, max_age: float) -> datetime | None:
    """Return until when the session is fresh, by `max_age` in seconds; None when it is past."""
    until = security.authenticated_at + timedelta(seconds=max_age)
    return until if until > clock.now() else None
