"""The sessions' table."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base, Id, UtcDateTime

IP_MAX = 45  # the longest textual IPv6 address, one with an IPv4 tail


class LoginSession(Base):
    """A login and the refresh tokens that came of it, one after the other.

    `token_id` is the current refresh token's `jti`, `token_issued_at` its `iat` and `expires_at`
    its `exp`; `previous_token_id` is the one that was spent for it, at `rotated_at`.
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
    ip: Mapped[str | None] = mapped_column(String(IP_MAX))
    user_agent: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        Index("ix_sessions_user_id", user_id),
        Index("ix_sessions_expires_at", expires_at),
        Index("ix_sessions_ended_at", ended_at, postgresql_where=ended_at.is_not(None)),
        CheckConstraint(
            "(previous_token_id IS NULL) = (rotated_at IS NULL)", name="rotated_together"
        ),
    )
