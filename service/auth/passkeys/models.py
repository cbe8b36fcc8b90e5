"""The tables of passkeys, and of the challenges that were answered."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, Id, UtcDateTime

NAME_MAX = 100


class Passkey(Base):
    """A WebAuthn credential of an account; the account's id is its user handle."""

    __tablename__ = "passkeys"

    id: Mapped[UUID] = mapped_column(Id, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    credential_id: Mapped[bytes] = mapped_column(LargeBinary)
    # As COSE_Key (RFC 9052, §7), which names the algorithm.
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    # The authenticator's counter at its highest.
    sign_count: Mapped[int] = mapped_column(BigInteger)
    # A `passkey` verifies its user and signs in alone; a `security_key` is a second factor only.
    kind: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(String(NAME_MAX))
    aaguid: Mapped[UUID] = mapped_column(Id)
    # Whether it may be on several devices (backup eligible), whose counters differ.
    synced: Mapped[bool]
    # The relying party that it is bound to.
    rp_id: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index("uq_passkeys_credential_id", credential_id, unique=True),
        Index("ix_passkeys_user_id", user_id),
        CheckConstraint("kind IN ('passkey', 'security_key')", name="kind"),
    )


class SpentChallenge(Base):
    """A challenge that was answered, kept until it would be refused as too old."""

    __tablename__ = "spent_challenges"

    challenge: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (Index("ix_spent_challenges_expires_at", expires_at),)
