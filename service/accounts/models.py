"""The users' table, and that of the links mailed to them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base, Id, UtcDateTime

EMAIL_MAX = 254
USERNAME_MAX = 80
ACTIVE_ADMIN = "is_admin AND is_active AND deleted_at IS NULL"


class User(Base):
    """An account. Email and username are unique without regard to case among those not deleted."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(Id, primary_key=True)
    email: Mapped[str] = mapped_column(String(EMAIL_MAX))
    username: Mapped[str] = mapped_column(String(USERNAME_MAX))
    password_hash: Mapped[str] = mapped_column(String(255))
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    is_admin: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())
    # When its owner proved that mail reaches the present address.
    email_verified_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Not when its hash was made anew for the same password.
    password_changed_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index(
            "uq_users_lower_email",
            func.lower(email),
            unique=True,
            postgresql_where=deleted_at.is_(None),
        ),
        Index(
            "uq_users_lower_username",
            func.lower(username),
            unique=True,
            postgresql_where=deleted_at.is_(None),
        ),
        Index("ix_users_deleted_at", deleted_at, postgresql_where=deleted_at.is_not(None)),
        # Newest first, as operators list them.
        Index("ix_users_newest", created_at.desc(), id.desc()),
        # The few who are counted before one of them is demoted, disabled or deleted.
        Index("ix_users_active_admins", id, postgresql_where=text(ACTIVE_ADMIN)),
        CheckConstraint("email <> '' AND username <> ''", name="named"),
    )


class MailLink(Base):
    """A single-use link that is mailed to an account's address.

    Its token is known to nobody but the mail: `token_hash` is the SHA-256 of it. Until the mail
    goes out there is none, and the link's life has not begun.
    """

    __tablename__ = "mail_links"

    id: Mapped[UUID] = mapped_column(Id, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    purpose: Mapped[str] = mapped_column(String(20))
    email: Mapped[str] = mapped_column(String(EMAIL_MAX))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    token_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # When it was followed, or died with a change of the password or the address.
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index("uq_mail_links_token_hash", token_hash, unique=True),
        Index("ix_mail_links_user_id", user_id),
        Index("ix_mail_links_created_at", created_at),
        CheckConstraint("(token_hash IS NULL) = (expires_at IS NULL)", name="sent_together"),
    )
