"""The identities of an account: found, linked, listed and unlinked."""

from collections.abc import Sequence
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import Table, and_, bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.audit.events import Kind, record_own
from service.auth.account_lock import require_account
from service.auth.credentials import COLUMNS, NOT_DELETED
from service.auth.errors import EmailUnverified, StepUpRequired
from service.auth.external.errors import IdentityLimit, IdentityNotFound, IdentityTaken
from service.auth.external.models import Identity
from service.auth.external.people import Person
from service.auth.login_methods import require_login_method
from service.auth.models import User
from service.auth.owners import notify_owner
from service.auth.rows import CredentialsRow
from service.auth.second_factor.factors import change_factors
from service.auth.security import SecurityRow
from service.auth.tokens import Claims
from service.db.autocommit import Autocommit
from service.db.base import AnyRow, UtcDateTime
from service.db.query import CompiledQuery, CompiledWrite
from service.ids import new_id
from service.notices.notices import Notice
from service.web.client import Origin

IDENTITIES_MAX: Final = 10  # of an account

_table: Final = cast(Table, Identity.__table__)
_identities: Final = _table.c
_users: Final = cast(Table, User.__table__).c
SHOWN: Final = (
    _identities.id,
    _identities.provider,
    _identities.email,
    _identities.name,
    _identities.created_at,
    _identities.last_used_at,
)
_NAMED: Final = and_(
    _identities.provider == bindparam("of_provider", type_=_identities.provider.type),
    _identities.issuer == bindparam("of_issuer", type_=_identities.issuer.type),
    _identities.subject == bindparam("of_subject", type_=_identities.subject.type),
)
_OWNER: Final = CompiledQuery(
    select(
        *COLUMNS,
        _users.password_hash,
        _users.password_changed_at,
        _users.second_factor_at,
        _users.sign_in_epoch,
    )
    .join_from(_table, User.__table__, _users.id == _identities.user_id)
    .where(_NAMED, NOT_DELETED)
)
_USED: Final = CompiledWrite(
    update(_table)
    .where(_NAMED)
    .values(
        email=bindparam("shown_email", type_=_identities.email.type),
        name=bindparam("shown_name", type_=_identities.name.type),
        last_used_at=bindparam("used_at", type_=UtcDateTime),
    )
    .returning(_identities.id)
)


def _named(person: Person) -> dict[str, Any]:
    return {
        "of_provider": person.provider,
        "of_issuer": person.issuer,
        "of_subject": person.subject,
    }


async def find_owner(db: Autocommit, person: Person) -> CredentialsRow | None:
    """Return the account that a person's identity is linked to, or None."""
    return cast(CredentialsRow | None, await db.fetch_one(_OWNER, _named(person)))


async def note_use(db: Autocommit, person: Person) -> None:
    """Note that somebody signed in by an identity, and what the provider shows of them."""
    shown = {"shown_email": person.email, "shown_name": person.name, "used_at": clock.now()}
    await db.write(_USED, {**_named(person), **shown})


async def insert_identity(
    session: AsyncSession, user_id: UUID, person: Person, *, used: bool
) -> AnyRow | None:
    """Link an identity to an account; None when it is linked already, to this or to another."""
    now = clock.now()
    statement = insert(_table).on_conflict_do_nothing().returning(*SHOWN)
    values = {
        "id": new_id(),
        "user_id": user_id,
        "provider": person.provider,
        "issuer": person.issuer,
        "subject": person.subject,
        "email": person.email,
        "name": person.name,
        "created_at": now,
        "last_used_at": now if used else None,
    }
    return (await session.execute(statement, values)).one_or_none()


async def link_identity(
    session: AsyncSession,
    security: SecurityRow,
    owner: Claims,
    person: Person,
    title: str,
    origin: Origin,
) -> tuple[AnyRow, bool]:
    """Link an identity to the account of a session; return it, and whether it is new.

    `security` is the account as it was when the request came: a change since ends what waits for
    it. Raises EmailUnverified, IdentityLimit, IdentityTaken, SessionGone or StepUpRequired.
    """
    user_id = security.user_id
    account = await require_account(session, owner)
    if account.email_verified_at is None:
        raise EmailUnverified
    known = (await session.execute(select(*SHOWN, _identities.user_id).where(_NAMED),
                                   _named(person))).one_or_none()  # fmt: skip
    if known is not None:
        if known.user_id != user_id:
            raise IdentityTaken
        return known, False
    if account.sign_in_epoch != security.sign_in_epoch:
        raise StepUpRequired(members={"methods": ["login"]})
    count = select(func.count()).where(_identities.user_id == user_id)
    if (await session.execute(count)).scalar_one() >= IDENTITIES_MAX:
        raise IdentityLimit
    row = await insert_identity(session, user_id, person, used=False)
    if row is None:  # another account was quicker
        raise IdentityTaken
    await change_factors(session, user_id)
    await _report(session, Kind.IDENTITY_LINKED, user_id, row, title, origin)
    return row, True


async def list_identities(session: AsyncSession, user_id: UUID) -> Sequence[AnyRow]:
    """Return an account's identities, the oldest first."""
    own = select(*SHOWN).where(_identities.user_id == user_id)
    return (await session.execute(own.order_by(_identities.created_at, _identities.id))).all()


async def require_identity(session: AsyncSession, user_id: UUID, identity_id: UUID) -> AnyRow:
    """Return one of an account's identities. Raises IdentityNotFound (404)."""
    own = select(*SHOWN).where(_identities.user_id == user_id, _identities.id == identity_id)
    row = (await session.execute(own)).one_or_none()
    if row is None:
        raise IdentityNotFound
    return row


async def unlink_identity(
    session: AsyncSession, owner: Claims, identity_id: UUID, title: str, origin: Origin
) -> None:
    """Unlink one of an account's identities.

    Raises IdentityNotFound, LastLoginMethod, and SessionGone when the owner's session has ended.
    """
    user_id = owner.user_id
    await require_account(session, owner)
    row = await require_identity(session, user_id, identity_id)
    await require_login_method(session, user_id, without=identity_id)
    await session.execute(delete(_table).where(_identities.id == identity_id))
    await change_factors(session, user_id)
    await _report(session, Kind.IDENTITY_UNLINKED, user_id, row, title, origin)


async def record_link(session: AsyncSession, user_id: UUID, row: Any, origin: Origin) -> None:
    """Record that an identity was linked."""
    detail = {"identity_id": str(row.id), "provider": row.provider}
    await record_own(session, Kind.IDENTITY_LINKED, user_id, origin, detail)


async def _report(
    session: AsyncSession, kind: Kind, user_id: UUID, row: Any, title: str, origin: Origin
) -> None:
    detail = {"identity_id": str(row.id), "provider": row.provider}
    await record_own(session, kind, user_id, origin, detail)
    linked = kind is Kind.IDENTITY_LINKED
    notice = Notice.IDENTITY_LINKED if linked else Notice.IDENTITY_UNLINKED
    person = row.email or row.name or "somebody"
    await notify_owner(session, user_id, notice, provider=title, person=person)
