"""The users' table."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, String, func, text
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
