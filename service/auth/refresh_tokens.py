"""Refresh tokens before they are signed, and how long login sessions live."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam

from service.auth.models import LoginSession
from service.ids import new_id
from service.settings import Settings
from service.web.client import Origin

_sessions: Final = LoginSession.__table__.c


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """How long login sessions live, and the grace for a spent refresh token."""

    life: timedelta
    max_age: timedelta
    grace: timedelta

    @classmethod
    def of(cls, settings: Settings) -> "SessionPolicy":
        """Return the policy of the settings."""
        return cls(
            life=timedelta(seconds=settings.jwt_refresh_token_expires),
            max_age=timedelta(seconds=settings.session_max_age),
            grace=timedelta(seconds=settings.refresh_reuse_grace),
        )


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """The live refresh token of a login session, before it is signed."""

    user_id: UUID
    session_id: UUID
    token_id: UUID
    issued_at: datetime
    expires_at: datetime


# The parameters of the columns that each new refresh token sets.
TOKEN: Final = {
    name: bindparam(f"new_{name}", type_=_sessions[name].type)
    for name in ("token_id", "token_issued_at", "last_used_at", "expires_at", "ip", "user_agent")
}


def new_token(
    user_id: UUID, session_id: UUID, now: datetime, *, created_at: datetime, policy: SessionPolicy
) -> RefreshToken:
    """Return a new refresh token of a login session."""
    expires_at = min(now + policy.life, created_at + policy.max_age)
    return RefreshToken(user_id, session_id, new_id(), now, expires_at)


def token_columns(token: RefreshToken, origin: Origin) -> dict[str, object]:
    """Return the columns of a login session that each new refresh token sets."""
    return {
        "token_id": token.token_id,
        "token_issued_at": token.issued_at,
        "last_used_at": token.issued_at,
        "expires_at": token.expires_at,
        "ip": origin.ip,
        "user_agent": origin.user_agent,
    }


def token_parameters(columns: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters of the columns that `token_columns` returns."""
    return {f"new_{name}": value for name, value in columns.items()}
