"""The tables of users and of their login sessions."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, ForeignKey, Index, String, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, Id, IpAddress, UtcDateTime
from service.web.fields import EMAIL_MAX

USERNAME_MAX = 80
ACTIVE_ADMIN = "is_admin AND is_active AND deleted_at IS NULL"
_KEPT = text("deleted_at IS NULL")
# The hashes that the service did not make, and what names the method of one.
FOREIGN_HASH = "password_hash NOT LIKE '$argon2%' AND deleted_at IS NULL"
HASH_METHOD = "split_part(password_hash, '$', 1)"
# In place of the hash of an account without a password: it begins as the service's own do, and no
# password is right for it, after the time that a wrong one takes.
NO_PASSWORD = "$argon2id$none"  # noqa: S105


class User(Base):
    """An account, whose email and username are unique by their keys until it is deleted."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(Id, primary_key=True)
    email: Mapped[str] = mapped_column(String(EMAIL_MAX))
    username: Mapped[str] = mapped_column(String(USERNAME_MAX))
    # By email_key() and username_key(): they make accounts unique and find them. Compared bytewise
    # (collation "C"), because the database's locale must not matter.
    email_key: Mapped[str] = mapped_column(Text(collation="C"))
    username_key: Mapped[str] = mapped_column(Text(collation="C"))
    # NO_PASSWORD when there is none.
    password_hash: Mapped[str] = mapped_column(String(255))
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    is_admin: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())
    # When the owner proved that mail reaches the current address.
    email_verified_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # While an email that replaced another is not verified: the last verified one, if there was any.
    verified_email: Mapped[str | None] = mapped_column(String(EMAIL_MAX))
    verified_email_key: Mapped[str | None] = mapped_column(Text(collation="C"))
    email_changed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Another hash of the same password leaves this as it is.
    password_changed_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())
    # Since when a login needs a second factor; NULL when it needs none.
    second_factor_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Rises with every change of password, email, factors or state of the account, which ends what
    # waits for the account: login tokens and unconfirmed factors.
    sign_in_epoch: Mapped[int] = mapped_column(server_default=text("0"))
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index("uq_users_email_key", email_key, unique=True, postgresql_where=_KEPT),
        Index("uq_users_username_key", username_key, unique=True, postgresql_where=_KEPT),
        # Read for the methods in use, and empty once every hash is the service's own.
        Index("ix_users_hash_methods", text(HASH_METHOD), postgresql_where=text(FOREIGN_HASH)),
        Index("ix_users_deleted_at", deleted_at, postgresql_where=deleted_at.is_not(None)),
        Index(
            "ix_users_verified_email_key",
            verified_email_key,
            postgresql_where=verified_email_key.is_not(None),
        ),
        # Newest first, as operators list them.
        Index("ix_users_newest", created_at.desc(), id.desc()),
        # Locked and counted before one of them is demoted, disabled or deleted.
        Index("ix_users_active_admins", id, postgresql_where=text(ACTIVE_ADMIN)),
        CheckConstraint("email <> '' AND username <> ''", name="named"),
    )


class LoginSession(Base):
    """A login and its refresh tokens, of which each rotation replaces one by the next.

    `token_id` is the live refresh token's `jti`, `token_issued_at` its `iat` and `expires_at` its
    `exp`; `previous_token_id` is the one that was spent for it, at `rotated_at`.
    """

    __tablename__ = "sessions"

    id: Mapped[UUID] = mapped_column(Id, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    token_id: Mapped[UUID] = mapped_column(Id)
    token_issued_at: Mapped[datetime] = mapped_column(UtcDateTime)
    previous_token_id: Mapped[UUID | None] = mapped_column(Id)
    rotated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ip: Mapped[str | None] = mapped_column(IpAddress)
    user_agent: Mapped[str | None] = mapped_column(Text)
    # How its user proved who they are, at the login and at step-ups since.
    methods: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{password}'"))
    # When its user last did; NULL when that was the login, at `created_at`.
    authenticated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index("ix_sessions_user_id", user_id),
        Index("ix_sessions_expires_at", expires_at),
        Index("ix_sessions_ended_at", ended_at, postgresql_where=ended_at.is_not(None)),
        CheckConstraint(
            "(previous_token_id IS NULL) = (rotated_at IS NULL)", name="rotated_together"
        ),
    )
