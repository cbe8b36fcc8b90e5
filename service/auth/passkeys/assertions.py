"""A passkey that is shown to sign in, as a second factor, or for a step-up."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, cast
from uuid import UUID

from sqlalchemy import Table, and_, bindparam, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.audit.events import Kind, record
from service.auth.credentials import COLUMNS, NOT_DELETED
from service.auth.models import User
from service.auth.owners import notify_owner
from service.auth.passkeys.challenges import Challenge, Challenges, Purpose
from service.auth.passkeys.credentials import AssertionCredential
from service.auth.passkeys.models import Passkey, SpentChallenge
from service.auth.passkeys.verification import CredentialRefused, shown_challenge, verify_assertion
from service.auth.rows import SignInState, UserRow
from service.db.autocommit import Autocommit
from service.db.base import Id, UtcDateTime
from service.db.database import execute_count
from service.db.query import CompiledQuery, CompiledWrite
from service.notices.notices import Notice
from service.settings.relying_party import RelyingParty
from service.web.client import Origin

CLEANUP_BATCH: Final = 5_000
CLOCKS_DIFFER: Final = timedelta(hours=1)

_table: Final = cast(Table, Passkey.__table__)
_passkeys: Final = _table.c
_users: Final = cast(Table, User.__table__).c
_spent_table: Final = cast(Table, SpentChallenge.__table__)


class PasskeyUserRow(UserRow, SignInState, Protocol):
    """A passkey and its account."""

    @property
    def passkey_id(self) -> UUID: ...
    @property
    def passkey_name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def public_key(self) -> bytes: ...
    @property
    def synced(self) -> bool: ...


class PasskeyCloned(CredentialRefused):
    """The counter of a passkey that is on one device went back: there is a copy of it."""

    def __init__(self, passkey: PasskeyUserRow) -> None:
        super().__init__()
        self.passkey = passkey


@dataclass(frozen=True, slots=True)
class Ceremony:
    """What a passkey is shown for, and what its challenge is bound to."""

    purpose: Purpose
    binding: bytes
    verified_user: bool


_FIND: Final = CompiledQuery(
    select(
        *COLUMNS,
        _users.password_changed_at,
        _users.sign_in_epoch,
        _passkeys.id.label("passkey_id"),
        _passkeys.name.label("passkey_name"),
        _passkeys.kind,
        _passkeys.public_key,
        _passkeys.synced,
    )
    .select_from(_table)
    .join(User.__table__, _users.id == _passkeys.user_id)
    .where(_passkeys.credential_id == bindparam("credential_id"), NOT_DELETED)
)
_count: Final = bindparam("sign_count", type_=_passkeys.sign_count.type)
_now: Final = bindparam("now", type_=UtcDateTime)
# Of many processes that are shown the same challenge, one inserts it.
_spent: Final = (
    insert(_spent_table)
    .values(
        challenge=bindparam("challenge", type_=_spent_table.c.challenge.type),
        expires_at=bindparam("expires_at", type_=UtcDateTime),
    )
    .on_conflict_do_nothing()
    .returning(_spent_table.c.challenge)
    .cte("spent")
)
# Synced passkeys count on each device by itself, and some authenticators do not count.
_went_on: Final = or_(
    _passkeys.synced, and_(_passkeys.sign_count == 0, _count == 0), _passkeys.sign_count < _count
)
_used: Final = (
    update(_table)
    .where(
        _passkeys.id == bindparam("passkey_id", type_=Id),
        select(_spent.c.challenge).exists(),
        _went_on,
    )
    .values(sign_count=func.greatest(_passkeys.sign_count, _count), last_used_at=_now)
    .returning(_passkeys.id)
    .cte("used")
)


def _any(part: Any) -> Any:
    return select(part.c[0]).exists()


_USE: Final = CompiledWrite(select(_any(_spent).label("spent"), _any(_used).label("used")))


async def find_passkey(
    db: Autocommit | AsyncSession, credential_id: bytes
) -> PasskeyUserRow | None:
    """Return the passkey that has a credential's id, with its account, or None."""
    values = {"credential_id": credential_id}
    if isinstance(db, Autocommit):
        return await db.fetch_one(_FIND, values)
    return (await db.execute(_FIND.statement, values)).one_or_none()


async def use_passkey(
    db: Autocommit | AsyncSession,
    relying_party: RelyingParty,
    challenge: Challenge,
    passkey: PasskeyUserRow,
    credential: AssertionCredential,
    *,
    verified_user: bool,
) -> None:
    """Accept a passkey that answers a challenge, which is spent by that.

    Raises CredentialRefused, of which PasskeyCloned is one.
    """
    if credential.user_handle not in (None, passkey.id.bytes):
        raise CredentialRefused
    assertion = await verify_assertion(
        credential, challenge.value, relying_party, passkey.public_key, verified_user=verified_user
    )
    # It cannot change (WebAuthn, §6.1.3), or else a copy would escape the counter.
    if assertion.synced != passkey.synced:
        raise CredentialRefused
    values = {
        "challenge": challenge.value,
        "expires_at": challenge.expires_at,
        "passkey_id": passkey.passkey_id,
        "sign_count": assertion.sign_count,
        "now": clock.now(),
    }
    result = await _write(db, values)
    if not result.spent:
        raise CredentialRefused
    if not result.used:
        gone = await find_passkey(db, credential.credential_id) is None
        raise CredentialRefused if gone else PasskeyCloned(passkey)


async def use_own_passkey(
    session: AsyncSession,
    challenges: Challenges,
    relying_party: RelyingParty | None,
    user_id: UUID,
    credential: AssertionCredential,
    ceremony: Ceremony,
) -> PasskeyUserRow:
    """Accept a passkey of an account, which is locked, and return it. Raises CredentialRefused."""
    passkey = await find_passkey(session, credential.credential_id)
    challenge = challenges.read(shown_challenge(credential), ceremony.binding)
    if passkey is None or challenge is None or relying_party is None:
        raise CredentialRefused
    if passkey.id != user_id or challenge.purpose is not ceremony.purpose:
        raise CredentialRefused
    await use_passkey(
        session, relying_party, challenge, passkey, credential, verified_user=ceremony.verified_user
    )
    return passkey


async def _write(db: Autocommit | AsyncSession, values: Mapping[str, object]) -> Any:
    if isinstance(db, Autocommit):
        return await db.write(_USE, values)
    return (await db.execute(_USE.statement, values)).one()


async def report_clone(session: AsyncSession, passkey: PasskeyUserRow, origin: Origin) -> None:
    """Record that there is a copy of a passkey, and inform its owner."""
    detail = {"passkey_id": str(passkey.passkey_id), "name": passkey.passkey_name}
    await record(
        session,
        Kind.PASSKEY_CLONED,
        user_id=passkey.id,
        actor_id=None,
        origin=origin,
        detail=detail,
    )
    await notify_owner(session, passkey.id, Notice.PASSKEY_CLONED, name=passkey.passkey_name)


async def delete_expired_challenges(session: AsyncSession, now: datetime) -> int:
    """Delete spent challenges long past their time, CLEANUP_BATCH at most; return their number."""
    table = SpentChallenge
    # Other machines' clocks may be behind, where a forgotten challenge would be good once more.
    before = now - CLOCKS_DIFFER
    expired = select(table.challenge).where(table.expires_at <= before).limit(CLEANUP_BATCH)
    values = expired.with_for_update(skip_locked=True)
    return await execute_count(session, delete(table).where(table.challenge.in_(values)))
