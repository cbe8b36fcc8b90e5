"""Access and refresh tokens: JWTs (RFC 7519), signed and verified; no database, no HTTP.

The two kinds are kept apart by the header's `typ`: `at+jwt` (RFC 9068) and `rt+jwt`.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import jwt

from service import clock
from service.ids import new_id, parse_id
from service.settings import Settings

ALGORITHM: Final = "HS256"
KEY_ID: Final = "secret"
REQUIRED_CLAIMS: Final = ["iss", "aud", "sub", "sid", "jti", "iat", "exp"]


class TokenType(StrEnum):
    """The header's `typ`."""

    ACCESS = "at+jwt"
    REFRESH = "rt+jwt"


class InvalidToken(Exception):
    """The token is not one of ours, or not of the kind asked for."""


class ExpiredToken(InvalidToken):
    """The token was ours; its time is over."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says."""

    user_id: UUID
    session_id: UUID
    token_id: UUID


class Tokens:
    """Issues and verifies the tokens of one service."""

    def __init__(self, settings: Settings) -> None:
        self._key = settings.jwt_secret
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self.life: Final = {
            TokenType.ACCESS: timedelta(seconds=settings.jwt_access_token_expires),
            TokenType.REFRESH: timedelta(seconds=settings.jwt_refresh_token_expires),
        }

    def issue(self, kind: TokenType, user_id: UUID, session_id: UUID) -> str:
        """Sign a token that lives as long as its kind does."""
        now = clock.now()
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(user_id),
            "sid": str(session_id),
            "jti": str(new_id()),
            "iat": now,
            "exp": now + self.life[kind],
        }
        headers = {"typ": kind.value, "kid": KEY_ID}
        return jwt.encode(claims, self._key, ALGORITHM, headers)

    def verify(self, kind: TokenType, token: str) -> Claims:
        """Verify a token. Raises ExpiredToken or InvalidToken."""
        try:
            decoded = jwt.decode_complete(
                token,
                self._key,
                algorithms=[ALGORITHM],
                issuer=self._issuer,
                audience=self._audience,
                options={"require": REQUIRED_CLAIMS},
            )
        except jwt.ExpiredSignatureError:
            raise ExpiredToken from None
        # A forged header may also nest too deeply or hold what is no text.
        except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError):
            raise InvalidToken from None
        if decoded["header"].get("typ") != kind.value or decoded["header"].get("kid") != KEY_ID:
            raise InvalidToken
        return _read_claims(decoded["payload"])


def _read_claims(payload: dict[str, Any]) -> Claims:
    ids = [parse_id(payload[name]) for name in ("sub", "sid", "jti")]
    user_id, session_id, token_id = ids
    if user_id is None or session_id is None or token_id is None:
        raise InvalidToken
    return Claims(user_id, session_id, token_id)
