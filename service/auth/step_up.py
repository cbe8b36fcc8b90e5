"""Step-up: the user of a session proves again who they are, which makes that session fresh."""

from datetime import datetime
from typing import Final, Protocol, cast
from uuid import UUID

from sqlalchemy import Table, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.audit.events import Kind, record_own
from service.auth.credentials import NOT_DELETED
from service.auth.errors import (
    AccountDisabled,
    CodeRefused,
    PasswordRefused,
    SecondFactorRequired,
    SessionGone,
)
from service.auth.models import User
from service.auth.passkeys.assertions import Ceremony
from service.auth.passkeys.challenges import Purpose, session_binding
from service.auth.passkeys.errors import PasskeyRefused
from service.auth.second_factor.proofs import ShownProof
from service.auth.second_factor.verification import PASSKEY, Claimant, Refused, Verifier
from service.auth.sessions import make_fresh
from service.db.autocommit import Autocommit
from service.db.base import Id
from service.db.query import CompiledQuery
from service.web.client import Origin

PASSWORD: Final = "password"  # noqa: S105

_users: Final = cast(Table, User.__table__).c
_STATE: Final = select(
    _users.id,
    _users.email,
    _users.is_active,
    _users.password_hash,
    _users.password_changed_at,
    _users.second_factor_at,
    _users.sign_in_epoch,
).where(_users.id == bindparam("user_id", type_=Id), NOT_DELETED)
_FIND: Final = CompiledQuery(_STATE)
# Posts of the account may be written meanwhile.
_LOCK: Final = _STATE.with_for_update(key_share=True)


class OwnState(Protocol):
    """An account, as its own session steps up."""

    @property
    def id(self) -> UUID: ...
    @property
    def email(self) -> str: ...
    @property
    def is_active(self) -> bool: ...
    @property
    def password_hash(self) -> str: ...
    @property
    def password_changed_at(self) -> datetime: ...
    @property
    def second_factor_at(self) -> datetime | None: ...
    @property
    def sign_in_epoch(self) -> int: ...


async def find_state(db: Autocommit, user_id: UUID) -> OwnState:
    """Return the account of a session. Raises SessionGone (401) when it is deleted."""
    state = await db.fetch_one(_FIND, {"user_id": user_id})
    if state is None:
        raise SessionGone
    return state


def require_password_enough(state: OwnState) -> None:
    """Raise SecondFactorRequired (403) when the second factor is on.

    The password may be what the thief of a session has.
    """
    if state.second_factor_at is not None:
        raise SecondFactorRequired


async def step_up_by_password(
    session: AsyncSession, state: OwnState, session_id: UUID, origin: Origin
) -> datetime:
    """Make a session fresh by the password, which was right for `state`, and return since when.

    Raises PasswordRefused or SecondFactorRequired (403) when the account changed since.
    """
    locked = await _lock(session, state.id)
    require_password_enough(locked)
    if locked.password_changed_at != state.password_changed_at:
        raise PasswordRefused
    return await _step_up(session, state.id, session_id, PASSWORD, origin)


async def step_up_by_factor(
    verifier: Verifier, user_id: UUID, session_id: UUID, proof: ShownProof, origin: Origin
) -> datetime:
    """Make a session fresh by a second factor, and return since when.

    A passkey is good while the second factor is off, too. Raises CodeRefused or PasskeyRefused
    (403), which keep what was counted, or SecondFactorLocked (429).
    """
    locked = await _lock(verifier.session, user_id)
    refusal = PasskeyRefused if proof[0] == PASSKEY else CodeRefused
    if locked.second_factor_at is None and refusal is CodeRefused:
        raise CodeRefused
    binding = session_binding(session_id, locked.sign_in_epoch)
    ceremony = Ceremony(Purpose.STEP_UP, binding, verified_user=True)
    proven = await verifier.verify(Claimant(user_id, user_id, origin, ceremony), *proof)
    if isinstance(proven, Refused):
        raise refusal
    return await _step_up(verifier.session, user_id, session_id, proven.method, origin)


async def _lock(session: AsyncSession, user_id: UUID) -> OwnState:
    locked: OwnState | None = (await session.execute(_LOCK, {"user_id": user_id})).one_or_none()
    if locked is None:
        raise SessionGone
    if not locked.is_active:
        raise AccountDisabled
    return locked


async def _step_up(
    session: AsyncSession, user_id: UUID, session_id: UUID, method: str, origin: Origin
) -> datetime:
    since = await make_fresh(session, user_id, session_id, method)
    detail = {"session_id": str(session_id), "method": method}
    await record_own(session, Kind.SESSION_STEPPED_UP, user_id, origin, detail)
    return since
