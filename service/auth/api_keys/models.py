"""The table of API keys."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, ForeignKey, Index, LargeBinary, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, Id, IpAddress, UtcDateTime

NAME_MAX = 100


class ApiKey(Base):
    """An API key, of which the SHA-256 is kept; a revoked one has no row."""

    __tablename__ = "api_keys"

    id: Mapped[UUID] = mapped_column(Id, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(NAME_MAX))
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    # The key's prefix and last characters, by which its owner knows it.
    hint: Mapped[str] = mapped_column(Text)
    # The first half of the SHA-256, by which a key is looked up in a batch, and the whole of it.
    lookup: Mapped[UUID] = mapped_column(Id)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    # Whether the session that made it was opened, or stepped up, with a second factor.
    second_factor: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # When the owner was told that it ends soon, and that it ended.
    warned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Right to a minute.
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_ip: Mapped[str | None] = mapped_column(IpAddress)

    __table_args__ = (
        Index("uq_api_keys_lookup", lookup, unique=True),
        Index("ix_api_keys_user_id", user_id),
        Index("ix_api_keys_expires_at", expires_at, postgresql_where=expires_at.is_not(None)),
    )
