"""The security events' table."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, String, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, Id, UtcDateTime

KIND_MAX = 40
IP_MAX = 45  # the longest textual IPv6 address, one with an IPv4 tail


class SecurityEvent(Base):
    """One event. It has no foreign keys: it outlives the accounts it speaks of."""

    __tablename__ = "security_events"

    id: Mapped[UUID] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(KIND_MAX))
    user_id: Mapped[UUID | None] = mapped_column(Id)
    actor_id: Mapped[UUID | None] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ip: Mapped[str | None] = mapped_column(String(IP_MAX))
    user_agent: Mapped[str | None] = mapped_column(Text)
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))

    __table_args__ = (
        # Newest first, of all, of one account, of one kind.
        Index("ix_security_events_newest", created_at.desc(), id.desc()),
        Index("ix_security_events_user_newest", user_id, created_at.desc(), id.desc()),
        Index("ix_security_events_kind_newest", kind, created_at.desc(), id.desc()),
    )
