"""The passkeys of an account: listed, added, renamed and removed.

The account is locked first, as in each change of an account.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.audit.events import Kind, record_own
from service.auth.account_lock import LockedAccount, require_account
from service.auth.login_methods import require_login_method
from service.auth.owners import notify_owner
from service.auth.passkeys.challenges import Challenge, Challenges, Purpose, session_binding
from service.auth.passkeys.credentials import RegistrationCredential
from service.auth.passkeys.errors import (
    PasskeyExists,
    PasskeyNotFound,
    PasskeyRefused,
    TooManyPasskeys,
)
from service.auth.passkeys.models import Passkey, SpentChallenge
from service.auth.passkeys.providers import provider_name
from service.auth.passkeys.queries import has_passkey
from service.auth.passkeys.schemas import Kind as PasskeyKind
from service.auth.passkeys.schemas import PasskeyOut
from service.auth.passkeys.verification import (
    CredentialRefused,
    shown_challenge,
    verify_registration,
)
from service.auth.second_factor.changes import report_off
from service.auth.second_factor.factors import change_factors, forget_factors
from service.auth.second_factor.models import Totp
from service.auth.tokens import Claims
from service.db.base import MappedRow
from service.db.database import execute_count
from service.ids import new_id
from service.notices.notices import Notice
from service.settings.relying_party import RelyingParty
from service.web.client import Origin

PASSKEYS_MAX: Final = 20
PURPOSES: Final[Mapping[PasskeyKind, Purpose]] = {
    "passkey": Purpose.ADD_PASSKEY,
    "security_key": Purpose.ADD_SECURITY_KEY,
}
_KINDS: Final = {purpose: kind for kind, purpose in PURPOSES.items()}
_DEFAULT_NAMES: Final[Mapping[PasskeyKind, str]] = {
    "passkey": "Passkey",
    "security_key": "Security key",
}
_SHOWN: Final = [getattr(Passkey, name) for name in PasskeyOut.model_fields]


class PasskeyRow(MappedRow, Protocol):
    """A passkey as it is shown to its owner."""

    @property
    def id(self) -> UUID: ...
    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...


async def list_passkeys(session: AsyncSession, user_id: UUID) -> Sequence[PasskeyRow]:
    """Return an account's passkeys, newest first."""
    statement = select(*_SHOWN).where(Passkey.user_id == user_id)
    return (await session.execute(statement.order_by(Passkey.id.desc()))).all()


async def find_own(session: AsyncSession, user_id: UUID, passkey_id: UUID) -> PasskeyRow:
    """Return one of an account's passkeys. Raises PasskeyNotFound."""
    statement = select(*_SHOWN).where(Passkey.id == passkey_id, Passkey.user_id == user_id)
    row: PasskeyRow | None = (await session.execute(statement)).one_or_none()
    if row is None:
        raise PasskeyNotFound
    return row


async def require_room(session: AsyncSession, user_id: UUID) -> None:
    """Raise TooManyPasskeys when an account has as many passkeys as it may."""
    statement = select(func.count()).where(Passkey.user_id == user_id)
    if (await session.execute(statement)).scalar_one() >= PASSKEYS_MAX:
        raise TooManyPasskeys


async def add_passkey(
    session: AsyncSession,
    challenges: Challenges,
    relying_party: RelyingParty,
    owner: Claims,
    credential: RegistrationCredential,
    name: str | None,
    origin: Origin,
) -> PasskeyRow:
    """Add a new credential to the account of the session that asked for it, and return it.

    What waits for the account is worthless from then on. Raises PasskeyRefused, PasskeyExists,
    TooManyPasskeys, and SessionGone when the session has ended.
    """
    account = await require_account(session, owner)
    binding = session_binding(owner.session_id, account.sign_in_epoch)
    try:
        challenge = challenges.read(shown_challenge(credential), binding)
        if challenge is None or challenge.purpose not in _KINDS:
            raise CredentialRefused
        kind = _KINDS[challenge.purpose]
        new = await verify_registration(
            credential, challenge.value, relying_party, verified_user=kind == "passkey"
        )
        await _spend(session, challenge)
    except CredentialRefused:
        raise PasskeyRefused from None
    await require_room(session, account.id)
    values = {
        "credential_id": new.credential_id,
        "public_key": new.public_key,
        "sign_count": new.sign_count,
        "kind": kind,
        "name": name or provider_name(new.aaguid) or _DEFAULT_NAMES[kind],
        "aaguid": new.aaguid,
        "synced": new.synced,
        "rp_id": relying_party.id,
    }
    passkey = await _insert(session, account, values)
    await change_factors(session, account.id)
    await _report(session, Kind.PASSKEY_ADDED, Notice.PASSKEY_ADDED, account.id, passkey, origin)
    return passkey


async def _spend(session: AsyncSession, challenge: Challenge) -> None:
    """Spend a challenge. Raises CredentialRefused when it was spent before."""
    values = {"challenge": challenge.value, "expires_at": challenge.expires_at}
    statement = insert(SpentChallenge).values(values).on_conflict_do_nothing()
    if not await execute_count(session, statement):
        raise CredentialRefused


async def _insert(
    session: AsyncSession, account: LockedAccount, values: Mapping[str, object]
) -> PasskeyRow:
    columns = {"id": new_id(), "user_id": account.id, "created_at": clock.now(), **values}
    statement = (
        insert(Passkey)
        .values(columns)
        .on_conflict_do_nothing(index_elements=[Passkey.credential_id])
        .returning(*_SHOWN)
    )
    row: PasskeyRow | None = (await session.execute(statement)).one_or_none()
    if row is None:
        raise PasskeyExists
    return row


async def rename_passkey(
    session: AsyncSession, user_id: UUID, passkey_id: UUID, name: str
) -> PasskeyRow:
    """Give one of an account's passkeys another name, and return it. Raises PasskeyNotFound."""
    statement = (
        update(Passkey)
        .where(Passkey.id == passkey_id, Passkey.user_id == user_id)
        .values(name=name)
        .returning(*_SHOWN)
    )
    row: PasskeyRow | None = (await session.execute(statement)).one_or_none()
    if row is None:
        raise PasskeyNotFound
    return row


async def remove_passkey(
    session: AsyncSession, owner: Claims, passkey_id: UUID, origin: Origin
) -> None:
    """Remove one of an account's passkeys; the last factor turns the second factor off.

    What waits for the account is worthless from then on. Raises PasskeyNotFound,
    LastLoginMethod, and SessionGone when the owner's session has ended.
    """
    user_id = owner.user_id
    account = await require_account(session, owner)
    passkey = await find_own(session, user_id, passkey_id)
    if passkey.kind == "passkey":
        await require_login_method(session, user_id, without=passkey_id)
    await session.execute(delete(Passkey).where(Passkey.id == passkey_id))
    is_last = account.second_factor_at is not None and not await _has_factor(session, user_id)
    if is_last:
        await forget_factors(session, user_id)
    else:
        await change_factors(session, user_id)
    await _report(session, Kind.PASSKEY_REMOVED, Notice.PASSKEY_REMOVED, user_id, passkey, origin)
    if is_last:
        await report_off(session, user_id, origin)


async def _has_factor(session: AsyncSession, user_id: UUID) -> bool:
    app = select(Totp.user_id).where(Totp.user_id == user_id)
    has_app = (await session.execute(app)).one_or_none() is not None
    return has_app or await has_passkey(session, user_id)


async def _report(
    session: AsyncSession,
    kind: Kind,
    notice: Notice,
    user_id: UUID,
    passkey: PasskeyRow,
    origin: Origin,
) -> None:
    detail = {"passkey_id": str(passkey.id), "name": passkey.name, "kind": passkey.kind}
    await record_own(session, kind, user_id, origin, detail)
    await notify_owner(session, user_id, notice, name=passkey.name)
