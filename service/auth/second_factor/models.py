"""The tables of second factors, and of logins that wait for one."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, ForeignKey, Index, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, Id, UtcDateTime

# The id of the key that a row's secret is encrypted with.
KEY_ID: Final = "substr(secret, 1, 4)"


class Totp(Base):
    """The authenticator app of an account; its secret is encrypted (auth/encryption)."""

    __tablename__ = "totps"

    user_id: Mapped[UUID] = mapped_column(
        Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # The last time step (RFC 6238, §4.2) whose code was accepted: it and those before are spent.
    last_step: Mapped[int] = mapped_column(BigInteger)

    # Which keys there are is asked every few seconds (encryption/missing_keys.py).
    __table_args__ = (Index("ix_totps_key_id", text(KEY_ID)),)


class TotpSetup(Base):
    """An authenticator app that waits for its first code; one per account."""

    __tablename__ = "totp_setups"

    user_id: Mapped[UUID] = mapped_column(
        Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    session_id: Mapped[UUID] = mapped_column(Id)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    sign_in_epoch: Mapped[int]
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    failures: Mapped[int] = mapped_column(server_default=text("0"))

    __table_args__ = (Index("ix_totp_setups_expires_at", expires_at),)


class RecoveryCode(Base):
    """An unused recovery code, of which the SHA-256 is kept."""

    __tablename__ = "recovery_codes"

    user_id: Mapped[UUID] = mapped_column(
        Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class CodeLock(Base):
    """The wrong codes in a row of an account, and until when its codes are locked."""

    __tablename__ = "code_locks"

    user_id: Mapped[UUID] = mapped_column(
        Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    failures: Mapped[int]
    # The time of the last wrong code while those in a row are too few to lock.
    locked_until: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (Index("ix_code_locks_locked_until", locked_until),)


class LoginToken(Base):
    """A login whose password was right and that waits for its second factor."""

    __tablename__ = "login_tokens"

    # The SHA-256 of the token.
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    # How its user proved who they are so far.
    methods: Mapped[list[str]] = mapped_column(ARRAY(Text))
    sign_in_epoch: Mapped[int]
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    failures: Mapped[int] = mapped_column(server_default=text("0"))

    __table_args__ = (
        Index("ix_login_tokens_user_id", user_id),
        Index("ix_login_tokens_expires_at", expires_at),
    )
