"""The set-up of an authenticator app, which its first code confirms."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.audit.events import Kind, record_own
from service.auth.account_lock import LockedAccount, require_account
from service.auth.encryption.encryption import TOTP_SECRET, Encryption
from service.auth.errors import EmailUnverified
from service.auth.owners import notify_owner
from service.auth.second_factor.changes import enable
from service.auth.second_factor.factors import change_factors, forget_failures
from service.auth.second_factor.models import Totp, TotpSetup
from service.auth.second_factor.totp import find_step
from service.auth.second_factor.verification import TOTP
from service.auth.sessions import make_fresh
from service.auth.tokens import Claims
from service.db.database import execute_count
from service.errors import BadRequest
from service.notices.notices import Notice
from service.web.client import Origin

LIFE: Final = timedelta(minutes=10)
FAILURES_MAX: Final = 5
CLEANUP_BATCH: Final = 1_000


class NoSetup(BadRequest):
    """No authenticator app waits for this session's code."""

    def __init__(self) -> None:
        super().__init__(errors={"code": ["confirms nothing: begin the set-up again"]})


class WrongCode(BadRequest):
    """The code is not that of the authenticator app that waits; it is counted."""

    keeps_changes = True

    def __init__(self) -> None:
        super().__init__(errors={"code": ["is wrong"]})


class SetupRow(Protocol):
    """A set-up as it is stored."""

    @property
    def secret(self) -> bytes: ...
    @property
    def failures(self) -> int: ...


async def begin_setup(
    session: AsyncSession, encryption: Encryption, owner: Claims, secret: bytes
) -> datetime:
    """Store a secret until the session confirms it, in the place of one that waited.

    Returns until when it waits. Raises EmailUnverified: who registers somebody else's address must
    leave no factor behind; and SessionGone when the session has ended.
    """
    account = await require_account(session, owner)
    # Now that it is locked: the address may have changed since the request came.
    if account.email_verified_at is None:
        raise EmailUnverified
    expires_at = clock.now() + LIFE
    values: Mapping[str, object] = {
        "session_id": owner.session_id,
        "secret": encryption.encrypt(TOTP_SECRET, account.id, secret),
        "sign_in_epoch": account.sign_in_epoch,
        "expires_at": expires_at,
        "failures": 0,
    }
    statement = insert(TotpSetup).values(user_id=account.id, **values)
    await session.execute(
        statement.on_conflict_do_update(index_elements=[TotpSetup.user_id], set_=values)
    )
    return expires_at


async def confirm_setup(
    session: AsyncSession, encryption: Encryption, owner: Claims, code: str, origin: Origin
) -> list[str]:
    """Take the authenticator app that waits into use, and return new recovery codes, if any.

    There are new ones when it turns the second factor on, which ends all other sessions. Raises
    NoSetup, WrongCode, SecretUnreadable, and SessionGone when the session ended.
    """
    account = await require_account(session, owner)
    waiting = await _find_setup(session, account, owner.session_id)
    if waiting is None:
        raise NoSetup
    secret = encryption.decrypt(TOTP_SECRET, account.id, waiting.secret)
    step = find_step(secret, code, clock.now())
    if step is None:
        await _count_failure(session, account.id, waiting.failures + 1)
        raise WrongCode
    # Anew, because a re-encryption that saw the set-up may be past the authenticator apps.
    await _put_in_use(
        session, account.id, encryption.encrypt(TOTP_SECRET, account.id, secret), step
    )
    await make_fresh(session, account.id, owner.session_id, TOTP)
    if account.second_factor_at is None:
        return await enable(session, account.id, origin, keep=owner.session_id)
    await change_factors(session, account.id)
    detail = {"replaced": True}
    await record_own(session, Kind.SECOND_FACTOR_ENABLED, account.id, origin, detail)
    await notify_owner(session, account.id, Notice.AUTHENTICATOR_REPLACED)
    return []


async def delete_expired_setups(session: AsyncSession, now: datetime) -> int:
    """Delete set-ups past their time, CLEANUP_BATCH at most, and return their number."""
    expired = select(TotpSetup.user_id).where(TotpSetup.expires_at <= now).limit(CLEANUP_BATCH)
    ids = expired.with_for_update(skip_locked=True)
    return await execute_count(session, delete(TotpSetup).where(TotpSetup.user_id.in_(ids)))


async def _find_setup(
    session: AsyncSession, account: LockedAccount, session_id: UUID
) -> SetupRow | None:
    statement = select(TotpSetup.secret, TotpSetup.failures).where(
        TotpSetup.user_id == account.id,
        TotpSetup.session_id == session_id,
        TotpSetup.sign_in_epoch == account.sign_in_epoch,
        TotpSetup.expires_at > clock.now(),
    )
    row: SetupRow | None = (await session.execute(statement)).one_or_none()
    return row


async def _count_failure(session: AsyncSession, user_id: UUID, failures: int) -> None:
    of_user = TotpSetup.user_id == user_id
    if failures >= FAILURES_MAX:
        await session.execute(delete(TotpSetup).where(of_user))
    else:
        await session.execute(update(TotpSetup).where(of_user).values(failures=failures))


async def _put_in_use(session: AsyncSession, user_id: UUID, secret: bytes, step: int) -> None:
    """Store the authenticator app of an account, in the place of an older one."""
    values: Mapping[str, object] = {
        "secret": secret,
        "created_at": clock.now(),
        "last_used_at": None,
        # The code that confirms is spent.
        "last_step": step,
    }
    statement = insert(Totp).values(user_id=user_id, **values)
    await session.execute(
        statement.on_conflict_do_update(index_elements=[Totp.user_id], set_=values)
    )
    await session.execute(delete(TotpSetup).where(TotpSetup.user_id == user_id))
    await forget_failures(session, user_id)
