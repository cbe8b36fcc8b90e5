"""Single-use links, mailed to verify an address or to reset a password.

A link is stored together with the job that mails it, in the transaction that asks for it. Its
token is derived from the link's id and SECRET_KEY when the mail is sent, so that a mail sent twice
has the same valid link twice; the database has only the token's SHA-256.

Several links of one purpose may be open at a time, so that either of two mails works. Any change of
the password or the address ends them all.

Who has an access token can change an account's address. So links that reset the password go to a
new address only once it is verified, and until then to the last verified one, if there was any.
An account that has more than a password gets none at an address that is not verified: who moves it
to somebody else's address must not share it with them.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID, uuid5

from sqlalchemy import ColumnExpressionArgument, and_, case, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.accounts.models import MailLink
from service.auth.credentials import NOT_DELETED, has_email
from service.auth.models import User
from service.auth.rows import AccountNames, PasswordState
from service.auth.security import PROTECTION, USES_ANY, ProtectionRow, uses_any
from service.canonical import email_key
from service.db.database import execute_count
from service.errors import BadRequest
from service.ids import new_id
from service.jobs.queue import enqueue

LINK_MAIL_JOB: Final = "mail link"
RESET_REQUEST_JOB: Final = "password reset request"
# Longer than the retries of a mail and the longest life of a link together.
RETENTION: Final = timedelta(days=8)
CLEANUP_BATCH: Final = 1_000


class Purpose(StrEnum):
    """The purpose of a link, and the path of its page."""

    VERIFY_EMAIL = "verify-email"
    RESET_PASSWORD = "reset-password"  # noqa: S105


# From the sending of the mail.
LIFE: Final = {Purpose.VERIFY_EMAIL: timedelta(days=3), Purpose.RESET_PASSWORD: timedelta(hours=1)}
# The reset links of one account in an hour that are asked for by another address than they go to.
DIVERTED_MAX: Final = 5
# The account's own address may get its reset links: it is verified, or the one that an account with
# nothing but a password registered with.
_RESETS_HERE: Final = or_(
    User.email_verified_at.is_not(None), and_(User.email_changed_at.is_(None), ~USES_ANY)
)
# The address of an account's reset links; NULL when there is none.
_RESET_ADDRESS: Final = case((_RESETS_HERE, User.email), else_=User.verified_email)
RESET_KEY: Final = case((_RESETS_HERE, User.email_key), else_=User.verified_email_key)


class InvalidLink(BadRequest):
    """The link's token is unknown, spent or expired."""

    default_message = "This link is invalid, has been used or has expired"


@dataclass(frozen=True, slots=True)
class OpenLink:
    """A link to be mailed."""

    email: str
    token: str
    account_email: str
    username: str
    # What the account has beside a password; None when it has nothing.
    protection: ProtectionRow | None


async def mail_link(
    session: AsyncSession, purpose: Purpose, user_id: UUID, email: str, link_id: UUID | None = None
) -> None:
    """Enqueue the mail of a new link, unless the link of that id exists already."""
    values = {
        "id": link_id or new_id(),
        "user_id": user_id,
        "purpose": purpose.value,
        "email": email,
        "email_key": email_key(email),
        "created_at": clock.now(),
    }
    statement = insert(MailLink).values(values).on_conflict_do_nothing().returning(MailLink.id)
    new = (await session.execute(statement)).scalar_one_or_none()
    if new is not None:
        payload = {"link": str(new), "purpose": purpose.value}
        await enqueue(session, LINK_MAIL_JOB, payload, to=email_key(email))


async def send_verification(session: AsyncSession, user: AccountNames) -> None:
    """Enqueue the mail of a link that verifies the account's address."""
    await mail_link(session, Purpose.VERIFY_EMAIL, user.id, user.email)


async def request_reset(session: AsyncSession, email: str) -> None:
    """Enqueue the account's look-up, so that the request takes the same time for any address."""
    await enqueue(session, RESET_REQUEST_JOB, {"email": email, "link": str(new_id())})


async def answer_reset_request(session: AsyncSession, email: str, link_id: UUID) -> None:
    """Enqueue the mail of a link for each active account that the address belongs to.

    It belongs to its account, and to those whose last verified address it is.
    """
    key = email_key(email)
    last_verified = and_(User.verified_email_key == key, ~_RESETS_HERE)
    statement = select(User.id, _RESET_ADDRESS.label("address")).where(
        or_(has_email(email), last_verified),
        _RESET_ADDRESS.is_not(None),
        User.is_active,
        NOT_DELETED,
    )
    for user_id, address in (await session.execute(statement)).all():
        if email_key(address) == key or await _count_resets(session, user_id) < DIVERTED_MAX:
            # The same one when the job runs again.
            account_link = uuid5(link_id, str(user_id))
            await mail_link(session, Purpose.RESET_PASSWORD, user_id, address, account_link)


async def _count_resets(session: AsyncSession, user_id: UUID) -> int:
    """Return the number of an account's reset links in the last hour."""
    statement = select(func.count()).where(
        MailLink.user_id == user_id,
        MailLink.purpose == Purpose.RESET_PASSWORD.value,
        MailLink.created_at > clock.now() - timedelta(hours=1),
    )
    return (await session.execute(statement)).scalar_one()


async def open_link(
    session: AsyncSession, link_id: UUID, purpose: Purpose, secret: str
) -> OpenLink | None:
    """Return a link with its token, whose life begins now.

    None when the link has ended, or its account is disabled or deleted or its mails go elsewhere.
    """
    token = _derive_token(link_id, secret)
    statement = (
        update(MailLink)
        .where(
            MailLink.id == link_id,
            MailLink.used_at.is_(None),
            User.id == MailLink.user_id,
            *_mailable(purpose),
        )
        .values(token_hash=_hash(token), expires_at=clock.now() + LIFE[purpose])
        .returning(MailLink.email, User.email.label("account_email"), User.username, *PROTECTION)
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        return None
    protection = row if uses_any(row) else None
    return OpenLink(row.email, token, row.account_email, row.username, protection)


async def find_account(session: AsyncSession, purpose: Purpose, token: str) -> AccountNames:
    """Return the account of a link, which stays unspent. Raises InvalidLink."""
    statement = (
        select(User.id, User.email, User.username)
        .join(MailLink, MailLink.user_id == User.id)
        .where(*_valid(purpose, token))
    )
    account = (await session.execute(statement)).one_or_none()
    if account is None:
        raise InvalidLink
    return account


async def follow(session: AsyncSession, purpose: Purpose, token: str) -> PasswordState:
    """Spend a link, and return its account, which stays locked. Raises InvalidLink.

    Of several requests at once one succeeds.
    """
    account = await find_account(session, purpose, token)
    # The account first, as every change of an account locks it, so that there is no deadlock.
    lock = select(User.id, User.password_changed_at).where(User.id == account.id)
    locked = (await session.execute(lock.with_for_update(key_share=True))).one_or_none()
    spend = (
        update(MailLink)
        .where(User.id == MailLink.user_id, *_valid(purpose, token))
        .values(used_at=clock.now())
        .returning(MailLink.id)
    )
    if locked is None or (await session.execute(spend)).one_or_none() is None:
        raise InvalidLink
    return locked


async def void_links(session: AsyncSession, user_id: UUID) -> None:
    """End all links of an account, also those not mailed yet."""
    statement = update(MailLink).where(MailLink.user_id == user_id, MailLink.used_at.is_(None))
    await session.execute(statement.values(used_at=clock.now()))


async def delete_expired_links(session: AsyncSession, now: datetime) -> int:
    """Delete links that ended long ago, CLEANUP_BATCH at most, and return their number."""
    old = select(MailLink.id).where(MailLink.created_at < now - RETENTION).limit(CLEANUP_BATCH)
    return await execute_count(session, delete(MailLink).where(MailLink.id.in_(old)))


def _valid(purpose: Purpose, token: str) -> tuple[ColumnExpressionArgument[bool], ...]:
    return (
        MailLink.token_hash == _hash(token),
        MailLink.purpose == purpose.value,
        MailLink.used_at.is_(None),
        MailLink.expires_at > clock.now(),
        *_mailable(purpose),
    )


def _mailable(purpose: Purpose) -> tuple[ColumnExpressionArgument[bool], ...]:
    """Return the conditions that the link's account is as it was when the mail was asked for."""
    key = RESET_KEY if purpose is Purpose.RESET_PASSWORD else User.email_key
    return key == MailLink.email_key, User.is_active, NOT_DELETED


def _derive_token(link_id: UUID, secret: str) -> str:
    """Return an HMAC of 256 bits (RFC 2104), which differs from all other uses of the secret."""
    digest = hmac.digest(secret.encode(), b"mail link " + link_id.bytes, "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
