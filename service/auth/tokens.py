"""Access and refresh tokens: JWTs (RFC 7519), signed and verified; no database, no HTTP.

The two kinds are kept apart by the header's `typ`: `at+jwt` (RFC 9068) and `rt+jwt`. Refresh
tokens are read by this service alone and are always signed with its secret: HS256 gives the same
bytes for the same claims, and a change of the access tokens' keys logs nobody out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final
from uuid import UUID

import jwt

from service import clock
from service.auth.keys import Key, load_keys, secret_key
from service.ids import new_id, parse_id
from service.settings import Settings

REQUIRED_CLAIMS: Final = ["iss", "aud", "sub", "sid", "jti", "iat", "exp"]
# Access tokens, those seen last, that are not verified anew: 10 MB at most.
TOKENS_KNOWN: Final = 10_000
# Other machines' clocks may be that far ahead.
CLOCK_SKEW: Final = timedelta(seconds=5)

# What was wrong with a token, in the words of the answer (RFC 6750, §3.1).
INVALID: Final = "The token is invalid"
EXPIRED: Final = "The token has expired"
ENDED: Final = "The session has ended"


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


@dataclass(frozen=True, slots=True)
class Verified:
    """What a token says whose signature is good; its times are still to be checked."""

    claims: Claims
    issued_at: object
    expires_at: object


class Tokens:
    """Issues and verifies the tokens of one service. Raises SettingsError for unusable keys."""

    def __init__(self, settings: Settings) -> None:
        self._secret = secret_key(settings)
        self.keys: Final = load_keys(settings)
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self.life: Final = {
            TokenType.ACCESS: timedelta(seconds=settings.jwt_access_token_expires),
            TokenType.REFRESH: timedelta(seconds=settings.jwt_refresh_token_expires),
        }
        # A client shows its access token for an hour. Whether its session lives is asked each time.
        self._read_again = lru_cache(TOKENS_KNOWN)(self._read)

    def issue(
        self,
        kind: TokenType,
        user_id: UUID,
        session_id: UUID,
        *,
        token_id: UUID | None = None,
        issued_at: datetime | None = None,
        expires_at: datetime | None = None,
    ) -> str:
        """Sign a token, by default a new one that lives as long as its kind does."""
        now = issued_at or clock.now()
        key = self._secret if kind is TokenType.REFRESH else self.keys.signing
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(user_id),
            "sid": str(session_id),
            "jti": str(token_id or new_id()),
            "iat": now,
            "exp": expires_at or now + self.life[kind],
        }
        headers = {"typ": kind.value, "kid": key.kid}
        return jwt.encode(claims, key.signing, key.algorithm, headers)

    def verify(self, kind: TokenType, token: str) -> Claims:
        """Verify a token. Raises ExpiredToken or InvalidToken."""
        read = self._read_again if kind is TokenType.ACCESS else self._read
        verified = read(kind, token)
        _check_times(verified)
        return verified.claims

    def _read(self, kind: TokenType, token: str) -> Verified:
        """Verify all but a token's times, which alone depend on when it is asked."""
        try:
            key = self._key(kind, jwt.get_unverified_header(token))
            payload = jwt.decode(
                token,
                key.verifying,
                algorithms=[key.algorithm],
                issuer=self._issuer,
                audience=self._audience,
                # The times are checked here, by the service's one clock.
                options={"require": REQUIRED_CLAIMS, "verify_exp": False, "verify_iat": False},
            )
        # A forged header may also nest too deeply or hold what is no text.
        except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError):
            raise InvalidToken from None
        return Verified(_read_claims(payload), payload["iat"], payload["exp"])

    def _key(self, kind: TokenType, header: Mapping[str, object]) -> Key:
        """Choose the key by `kid` among those of the kind; `alg` has no say."""
        if header.get("typ") != kind.value:
            raise InvalidToken
        key_id = header.get("kid")
        if kind is TokenType.REFRESH:
            key = self._secret if key_id == self._secret.kid else None
        else:
            key = self.keys.by_id.get(key_id) if isinstance(key_id, str) else None
        if key is None:
            raise InvalidToken
        return key


def _read_claims(payload: Mapping[str, object]) -> Claims:
    ids = [parse_id(payload[name]) for name in ("sub", "sid", "jti")]
    user_id, session_id, token_id = ids
    if user_id is None or session_id is None or token_id is None:
        raise InvalidToken
    return Claims(user_id, session_id, token_id)


def _check_times(verified: Verified) -> None:
    now = clock.now()
    if not (type(verified.issued_at) is int and type(verified.expires_at) is int):
        raise InvalidToken
    if verified.issued_at > (now + CLOCK_SKEW).timestamp():
        raise InvalidToken
    if verified.expires_at <= now.timestamp():
        raise ExpiredToken
