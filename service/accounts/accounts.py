"""The actions of accounts: registration, changes and deletion."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, case, delete, func, literal_column, or_, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.accounts.recovery import links
from service.accounts.schemas import ProfileChange, Registration
from service.audit.events import Kind, anonymise, has_personal_data, record_own
from service.auth import sessions
from service.auth.account_lock import require_live
from service.auth.credentials import COLUMNS, NEXT_EPOCH, NOT_DELETED, key_columns
from service.auth.deletion import forget_sign_in
from service.auth.errors import SessionGone
from service.auth.models import ACTIVE_ADMIN, User
from service.auth.registration import insert_account, name_conflict
from service.auth.rows import PasswordState, UserRow
from service.canonical import email_key
from service.db.database import execute_count
from service.db.synchronous import require_replication
from service.errors import Conflict, Forbidden
from service.notices.notices import Notice, send_notice
from service.posts import hidden_authors, posts
from service.web.client import INTERNAL, Origin

CLEANUP_BATCH: Final = 100


class LastAdmin(Conflict):
    """The account is the last active administrator."""

    default_message = "This is the last active administrator"


class WrongPassword(Forbidden):
    """The password that confirms a change is wrong."""

    default_message = "The password is wrong"


async def register(
    session: AsyncSession,
    registration: Registration,
    password_hash: str,
    origin: Origin = INTERNAL,
    *,
    verify: bool = True,
) -> UserRow:
    """Create an account. Raises EmailTaken or UsernameTaken, also when two requests race.

    Without a username one is made from the email, which never fails. `verify` mails the link that
    verifies the address.
    """
    email, username = registration.email, registration.username
    user = await insert_account(session, email, username, password_hash)
    await record_own(session, Kind.ACCOUNT_REGISTERED, user.id, origin)
    if verify:
        await links.send_verification(session, user)
    return user


# Made from the row itself, which another request may have changed since it was read.
_was_verified: Final = User.email_verified_at.is_not(None)
_UNVERIFIED: Final[Mapping[str, object]] = {
    "verified_email": case((_was_verified, User.email), else_=User.verified_email),
    "verified_email_key": case((_was_verified, User.email_key), else_=User.verified_email_key),
    "email_verified_at": None,
    "email_changed_at": func.now(),
    **NEXT_EPOCH,
}


def has_new_email(before: UserRow, change: ProfileChange) -> bool:
    """Whether a change moves an account to another email, not to a spelling of the same."""
    email = change.given().get("email")
    return email is not None and email_key(email) != email_key(before.email)


async def change_profile(
    session: AsyncSession, before: UserRow, change: ProfileChange, origin: Origin
) -> UserRow:
    """Change username or email, and return the account.

    `before` is the account; before a change of the email it is locked, so that it is as it is now.
    A new email must be verified again, but not another spelling of the same, and the old one is
    informed if it was verified. Raises EmailTaken, UsernameTaken or SessionGone.
    """
    columns = before._mapping
    given = {name: value for name, value in change.given().items() if columns[name] != value}
    if not given:
        await require_replication(session)
        return before
    new_email = has_new_email(before, change)
    values: dict[str, object] = {**given, **key_columns(given)}
    if new_email:
        values |= _UNVERIFIED
    statement = update(User).where(User.id == before.id, NOT_DELETED)
    statement = statement.returning(*COLUMNS, User.verified_email, User.verified_email_key)
    try:
        changed = await session.execute(statement.values(**values, updated_at=func.now()))
    except IntegrityError as error:
        raise name_conflict(error) from None
    user = changed.one_or_none()
    if user is None:
        raise SessionGone
    if new_email:
        await links.void_links(session, user.id)
        await links.send_verification(session, user)
        if user.verified_email_key == email_key(before.email):
            names = {"old": user.verified_email, "new": user.email}
            await send_notice(session, user.id, names["old"], Notice.EMAIL_CHANGED, **names)
        detail = {"from": before.email, "to": user.email}
        await record_own(session, Kind.EMAIL_CHANGED, user.id, origin, detail)
    return user


async def change_password(
    session: AsyncSession, account: PasswordState, new_hash: str, origin: Origin, *, keep: UUID
) -> None:
    """Change a password, and end all mailed links and all login sessions but the one to keep.

    `account` is what the current password was checked against. Raises WrongPassword when the
    password has changed since then, or SessionGone when the session to keep has ended.
    """
    await set_password(session, account, new_hash)
    # Hashing takes a while, in which a second factor may have been turned on.
    await require_live(session, keep)
    await sessions.revoke_sessions(session, account.id, origin, keep=keep)
    await record_own(session, Kind.PASSWORD_CHANGED, account.id, origin)


async def set_password(session: AsyncSession, account: PasswordState, new_hash: str) -> None:
    """Store a new password's hash, and end all mailed links.

    The account stays locked, so that nobody logs in with the old password while its sessions end.
    Raises WrongPassword when the password has changed since `account` was read.
    """
    statement = (
        update(User)
        .where(*_unchanged(account))
        .values(password_hash=new_hash, password_changed_at=func.clock_timestamp(), **NEXT_EPOCH)
        .returning(User.id)
    )
    if (await session.execute(statement)).one_or_none() is None:
        raise WrongPassword
    await links.void_links(session, account.id)


def _unchanged(account: PasswordState) -> tuple[ColumnElement[bool], ...]:
    same_password = User.password_changed_at == account.password_changed_at
    return User.id == account.id, same_password, NOT_DELETED


async def delete_account(
    session: AsyncSession, account: PasswordState, session_id: UUID, origin: Origin
) -> None:
    """Delete an account softly, which ends its sessions, hides its posts and frees its names.

    `account` is what its password was checked against, and the session the one that asks. Raises
    WrongPassword when the password has changed since then, SessionGone when the session has ended,
    or LastAdmin.
    """
    await guard_last_admin(session, account.id)
    # FOR UPDATE waits for posts that are being written, which would be missed below.
    unchanged = select(User.id).where(*_unchanged(account))
    if (await session.execute(unchanged.with_for_update())).one_or_none() is None:
        raise WrongPassword
    await require_live(session, session_id)
    await forget_sign_in(session, account.id)
    now = clock.now()
    deletion = update(User).where(User.id == account.id).values(deleted_at=now, **NEXT_EPOCH)
    await session.execute(deletion)
    await sessions.revoke_sessions(session, account.id, origin)
    await hidden_authors.hide_author(session, account.id, now)
    await links.void_links(session, account.id)
    await record_own(session, Kind.ACCOUNT_DELETED, account.id, origin)


async def guard_last_admin(session: AsyncSession, user_id: UUID) -> None:
    """Raise LastAdmin for the only active administrator, after locking all until the commit."""
    if list(await lock_admins(session, user_id)) == [user_id]:
        raise LastAdmin


async def lock_admins(session: AsyncSession, user_id: UUID) -> Sequence[UUID]:
    """Lock the active administrators and an account until the commit; return the former's ids.

    By one statement in one order: who becomes an administrator meanwhile is that account.
    """
    # Not FOR UPDATE, because posts that administrators create would wait meanwhile.
    is_admin = text(ACTIVE_ADMIN)
    active_admin: ColumnElement[bool] = literal_column(f"({ACTIVE_ADMIN})")
    statement = (
        select(User.id, active_admin.label("is_active_admin"))
        .where(or_(is_admin, User.id == user_id))
        .order_by(User.id)
        .with_for_update(key_share=True)
    )
    locked = (await session.execute(statement)).all()
    return [row.id for row in locked if row.is_active_admin]


async def anonymise_retired_accounts(session: AsyncSession, before: datetime) -> int:
    """Remove personal data from security events of accounts deleted before a time, in batches.

    Returns the number of events.
    """
    return await anonymise(session, select(User.id).where(User.deleted_at < before))


async def delete_retired_accounts(session: AsyncSession, before: datetime) -> int:
    """Remove accounts deleted before a time, CLEANUP_BATCH at most, and return their number.

    Accounts are left for later that still have posts, or personal data in security events, because
    removing many takes long.
    """
    retired = (
        select(User.id)
        .where(User.deleted_at < before, ~posts.has_posts(User.id), ~has_personal_data(User.id))
        .order_by(User.deleted_at)
        .limit(CLEANUP_BATCH)
        .with_for_update(skip_locked=True)
    )
    return await execute_count(session, delete(User).where(User.id.in_(retired)))
