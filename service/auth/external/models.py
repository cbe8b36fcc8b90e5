"""The tables of identities at external providers, and of sign-ins that are under way."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from service.db.base import Base, Id, UtcDateTime
from service.web.fields import EMAIL_MAX

SUBJECT_MAX: Final = 255
NAME_MAX: Final = 200


class Identity(Base):
    """A person at an external provider, linked to one account; the email does not identify it."""

    __tablename__ = "identities"

    id: Mapped[UUID] = mapped_column(Id, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    provider: Mapped[str] = mapped_column(Text)
    issuer: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(String(SUBJECT_MAX))
    # As the provider showed them last, for the owner to recognise it.
    email: Mapped[str | None] = mapped_column(String(EMAIL_MAX))
    name: Mapped[str | None] = mapped_column(String(NAME_MAX))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index("uq_identities_subject", provider, issuer, subject, unique=True),
        Index("ix_identities_user_id", user_id),
    )


class ExternalFlow(Base):
    """A sign-in through a provider that is under way.

    It has first a state, good for one callback, and from then on a code, good for one exchange.
    """

    __tablename__ = "external_flows"

    # The SHA-256 of the state.
    state_digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    provider: Mapped[str] = mapped_column(Text)
    # The issuer that the callback may name, and whether it must (RFC 9207).
    issuer: Mapped[str] = mapped_column(Text)
    issuer_required: Mapped[bool]
    return_to: Mapped[str] = mapped_column(Text)
    code_challenge: Mapped[str] = mapped_column(Text)
    # The SHA-256 of the service's own code, and the provider's code, which is encrypted.
    code_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    provider_code: Mapped[bytes | None] = mapped_column(LargeBinary)
    # Since when a request exchanges the code.
    claimed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index(
            "uq_external_flows_code_digest",
            code_digest,
            unique=True,
            postgresql_where=code_digest.is_not(None),
        ),
        Index("ix_external_flows_expires_at", expires_at),
    )
