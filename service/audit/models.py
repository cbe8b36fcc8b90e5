"""The table of security events."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, String, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, Id, IpAddress, UtcDateTime

KIND_MAX = 40


class SecurityEvent(Base):
    """A security event, without foreign keys because it outlives the accounts that it names."""

    __tablename__ = "security_events"

    id: Mapped[UUID] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(KIND_MAX))
    user_id: Mapped[UUID | None] = mapped_column(Id)
    actor_id: Mapped[UUID | None] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ip: Mapped[str | None] = mapped_column(IpAddress)
    user_agent: Mapped[str | None] = mapped_column(Text)
    detail: Mapped[dict[str, object]] = mapped_column(JSONB, server_default=text("'{}'"))

    __table_args__ = (
        # Newest first, of all, of one account, of one kind.
        Index("ix_security_events_newest", created_at.desc(), id.desc()),
        Index("ix_security_events_user_newest", user_id, created_at.desc(), id.desc()),
        Index("ix_security_events_kind_newest", kind, created_at.desc(), id.desc()),
    )
