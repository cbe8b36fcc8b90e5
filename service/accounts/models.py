"""The table of mailed links."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, Id, UtcDateTime
from service.web.fields import EMAIL_MAX


class MailLink(Base):
    """A single-use link that is mailed to an account's address.

    Only the mail has its token; `token_hash` is the SHA-256 of it. Both begin with the mail: until
    then the link has no token and no end.
    """

    __tablename__ = "mail_links"

    id: Mapped[UUID] = mapped_column(Id, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    purpose: Mapped[str] = mapped_column(String(20))
    email: Mapped[str] = mapped_column(String(EMAIL_MAX))
    email_key: Mapped[str] = mapped_column(Text(collation="C"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    token_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # When it was followed, or voided by a change of the password or the address.
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index("uq_mail_links_token_hash", token_hash, unique=True),
        Index("ix_mail_links_user_id", user_id),
        Index("ix_mail_links_created_at", created_at),
        CheckConstraint("(token_hash IS NULL) = (expires_at IS NULL)", name="sent_together"),
    )
