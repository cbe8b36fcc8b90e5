"""A login by a provider: to the account that has the identity, or to a new one.

An account that has the address already is never linked silently: whoever registered it, or the
provider, may not be the address's owner.
"""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.audit.events import Kind, record_alone, record_own
from service.auth.credentials import COLUMNS, find_credentials
from service.auth.errors import LoginDisabled, LoginIncomplete
from service.auth.external import identities
from service.auth.external.errors import AddressUnproven, LinkRequired, ProviderRefused
from service.auth.external.people import Person
from service.auth.login import ATTEMPTS, DISABLED
from service.auth.models import NO_PASSWORD, User
from service.auth.opening import open_session
from service.auth.refresh_tokens import RefreshToken, SessionPolicy
from service.auth.registration import EmailTaken, insert_account
from service.auth.rows import CredentialsRow, UserRow
from service.auth.second_factor.login_tokens import LIFE, open_waiting_login
from service.db.autocommit import Autocommit
from service.web.client import Origin

PROVIDER: Final = "provider"


class ExternalLogin(NamedTuple):
    """The session that a login opened, its account, and whether the account is new."""

    token: RefreshToken
    user: UserRow
    created: bool


class Databases(NamedTuple):
    """What single statements, and what a transaction that is committed later, are executed by."""

    autocommit: Autocommit
    session: Callable[[], AsyncSession]
    # Ends the transaction without a commit.
    release: Callable[[], Awaitable[None]]


def method_of(person: Person) -> str:
    """Return the method of a session that a provider opened."""
    return f"external:{person.provider}"


async def log_in(
    databases: Databases,
    person: Person,
    policy: SessionPolicy,
    origin: Origin,
    *,
    count_registration: Callable[[], Awaitable[None]],
) -> ExternalLogin:
    """Open a login session for a person.

    Raises LoginDisabled, LoginIncomplete, AddressUnproven or LinkRequired (403); what
    `count_registration` raises; or ProviderRefused when the account keeps changing meanwhile.
    """
    for _ in range(ATTEMPTS):
        user = await identities.find_owner(databases.autocommit, person)
        if user is not None:
            token = await _open(databases.autocommit, user, person, policy, origin)
            if token is not None:
                await identities.note_use(databases.autocommit, person)
                return ExternalLogin(token, user, False)
            continue
        if person.proven_email is None:
            await _record_failure(databases.autocommit, person, None, origin)
            raise AddressUnproven
        if await find_credentials(databases.autocommit, person.proven_email) is None:
            await count_registration()
            session = databases.session()
            login = await _register(session, person, person.proven_email, policy, origin)
            if login is not None:
                return login
            await databases.release()
        # Another request may have registered the same person meanwhile.
        if await identities.find_owner(databases.autocommit, person) is None:
            await _record_failure(databases.autocommit, person, None, origin)
            raise LinkRequired
    raise ProviderRefused


async def _open(
    db: Autocommit, user: CredentialsRow, person: Person, policy: SessionPolicy, origin: Origin
) -> RefreshToken | None:
    """Open a session, or let the login wait; None when the account changed since it was read."""
    methods = [method_of(person)]
    if not user.is_active:
        await _record_failure(db, person, user, origin, DISABLED)
        raise LoginDisabled
    if user.second_factor_at is None:
        return await open_session(db, user, policy, origin, methods=methods)
    waiting = await open_waiting_login(db, user, methods)
    if waiting is None:
        return None
    await identities.note_use(db, person)
    members = {"login_token": waiting.token, "expires_in": LIFE, "factors": waiting.factors}
    raise LoginIncomplete(members=members)


async def _register(
    session: AsyncSession, person: Person, email: str, policy: SessionPolicy, origin: Origin
) -> ExternalLogin | None:
    """Make an account without a password; None when there is one of the address or the person."""
    try:
        new = await insert_account(session, email, None, NO_PASSWORD, email_verified_at=clock.now())
    except EmailTaken:
        return None
    identity = await identities.insert_identity(session, new.id, person, used=True)
    if identity is None:
        return None
    await record_own(session, Kind.ACCOUNT_REGISTERED, new.id, origin)
    await identities.record_link(session, new.id, identity, origin)
    state = select(*COLUMNS, User.password_changed_at, User.sign_in_epoch).where(User.id == new.id)
    user = (await session.execute(state)).one()
    token = await open_session(session, user, policy, origin, methods=[method_of(person)])
    assert token is not None  # noqa: S101 - nobody else sees the account before the commit
    return ExternalLogin(token, user, True)


async def record_refusal(db: Autocommit, origin: Origin) -> None:
    """Record a login that a provider, or what it said, did not allow."""
    detail, kind = {"reason": PROVIDER}, Kind.LOGIN_FAILED
    await record_alone(db, kind, user_id=None, actor_id=None, origin=origin, detail=detail)


async def _record_failure(
    db: Autocommit,
    person: Person,
    user: CredentialsRow | None,
    origin: Origin,
    reason: str = PROVIDER,
) -> None:
    email = person.email if user is None else user.email
    detail = {"reason": reason, "provider": person.provider, "email": email or ""}
    user_id, kind = user.id if user else None, Kind.LOGIN_FAILED
    await record_alone(db, kind, user_id=user_id, actor_id=None, origin=origin, detail=detail)
