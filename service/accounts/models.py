"""The users' table."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base, Id, UtcDateTime

EMAIL_MAX = 254
USERNAME_MAX = 80


class User(Base):
    """An account. Email and username are unique without regard to case."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(Id, primary_key=True)
    email: Mapped[str] = mapped_column(String(EMAIL_MAX))
    username: Mapped[str] = mapped_column(String(USERNAME_MAX))
    password_hash: Mapped[str] = mapped_column(String(255))
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    is_admin: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now())

    __table_args__ = (
        Index("uq_users_lower_email", func.lower(email), unique=True),
        Index("uq_users_lower_username", func.lower(username), unique=True),
        CheckConstraint("email <> '' AND username <> ''", name="named"),
    )
