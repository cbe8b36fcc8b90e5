"""What a login compares with: accounts and the hashes of their passwords."""

from typing import Final
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.auth.models import User
from service.auth.rows import CredentialsRow, PasswordRow
from service.web.fields import comparable_email

# What is shown of an account, and whether it is an operator's.
COLUMNS: Final = (
    User.id,
    User.email,
    User.username,
    User.is_active,
    User.is_admin,
    User.email_verified_at.is_not(None).label("email_verified"),
    User.created_at,
)
_NOT_DELETED: Final = User.deleted_at.is_(None)


async def find_credentials(session: AsyncSession, email: str) -> CredentialsRow | None:
    """Read an account, its password's hash and when it changed, by email in any case."""
    # PostgreSQL lowers both sides: Python lowers some letters (İ, a last Σ) to others.
    same_email = func.lower(User.email) == func.lower(comparable_email(email))
    statement = select(*COLUMNS, User.password_hash, User.password_changed_at).where(
        same_email, _NOT_DELETED
    )
    return (await session.execute(statement)).one_or_none()


async def find_password(session: AsyncSession, user_id: UUID) -> PasswordRow | None:
    """Read the hash of an account's password and when the password changed."""
    statement = select(User.id, User.password_hash, User.password_changed_at).where(
        User.id == user_id, _NOT_DELETED
    )
    return (await session.execute(statement)).one_or_none()


async def replace_hash(session: AsyncSession, user_id: UUID, old: str, new: str) -> None:
    """Store another hash of the same password, unless the password changed meanwhile."""
    statement = update(User).where(User.id == user_id, User.password_hash == old)
    await session.execute(statement.values(password_hash=new))
