"""Access and refresh tokens: JWTs (RFC 7519), signed and verified without database and HTTP.

The header's `typ` keeps the two types apart: `at+jwt` (RFC 9068) and `rt+jwt`. Refresh tokens are
read by this service alone and are always signed with its secret: HS256 gives the same bytes for the
same claims, and a change of the access tokens' keys logs nobody out.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final
from uuid import UUID

import jwt
from jwt.utils import base64url_decode, base64url_encode

from service import clock
from service.auth.key_ring import KeyRing
from service.auth.keys import Key, secret_key
from service.ids import new_id, parse_id
from service.settings import Settings

REQUIRED_CLAIMS: Final = ["iss", "aud", "sub", "sid", "jti", "iat", "exp"]
# Three parts in base64url without padding (RFC 7515, §3.1).
_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
# The access tokens verified last, whose signatures are not verified again: 10 MB at most.
CACHED_TOKENS: Final = 10_000
# How far another machine's clock may be ahead. RFC 7519, §4.1.6, asks for no check of `iat`; this
# one refuses only what no replica can have signed.
CLOCK_SKEW: Final = timedelta(seconds=60)

# What is wrong with a token, as the response says it (RFC 6750, §3.1).
INVALID: Final = "The token is invalid"
EXPIRED: Final = "The token has expired"
ENDED: Final = "The session has ended"


class TokenType(StrEnum):
    """The type of a token, its header's `typ`."""

    ACCESS = "at+jwt"
    REFRESH = "rt+jwt"


class InvalidToken(Exception):
    """The token is not one of this service, or of another type."""


class ExpiredToken(InvalidToken):
    """The token is one of this service, and has expired."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The ids in a verified token."""

    user_id: UUID
    session_id: UUID
    token_id: UUID


@dataclass(frozen=True, slots=True)
class Verified:
    """The claims of a token whose signature is verified and whose times are not."""

    claims: Claims
    issued_at: object
    expires_at: object


class Tokens:
    """Issues and verifies tokens. Raises SettingsError for unusable keys."""

    def __init__(self, settings: Settings) -> None:
        self._secret = secret_key(settings)
        # A token that was verified is not valid any more when its key is gone.
        self.keys: Final = KeyRing(settings, lambda: self._read_cached.cache_clear())
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self.life: Final = {
            TokenType.ACCESS: timedelta(seconds=settings.jwt_access_token_expires),
            TokenType.REFRESH: timedelta(seconds=settings.jwt_refresh_token_expires),
        }
        # A client sends its access token for an hour. Its login session is looked up each time.
        self._read_cached = lru_cache(CACHED_TOKENS)(self._read)

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
        """Return a signed token, by default a new one with the life of its type."""
        now = issued_at or clock.now()
        key = self._secret if kind is TokenType.REFRESH else self.keys.current.signing
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(user_id),
            "sid": str(session_id),
            "jti": str(token_id or new_id()),
            "iat": now,
            "exp": expires_at or now + self.life[kind],
        }
        if kind is TokenType.ACCESS:
            # Required by RFC 9068, §2.2. There is one client, the service's own.
            claims["client_id"] = self._audience
        headers = {"typ": kind.value, "kid": key.kid}
        return jwt.encode(claims, key.signing, key.algorithm, headers)

    def verify(self, kind: TokenType, token: str) -> Claims:
        """Return the ids in a token. Raises ExpiredToken or InvalidToken."""
        read = self._read_cached if kind is TokenType.ACCESS else self._read
        verified = read(kind, token)
        _check_times(verified)
        return verified.claims

    def _read(self, kind: TokenType, token: str) -> Verified:
        """Verify all but the times, which do not depend on the token alone."""
        try:
            _check_form(token)
            key = self._key(kind, _read_header(token))
            payload = jwt.decode(
                token,
                key.verifying,
                algorithms=[key.algorithm],
                issuer=self._issuer,
                audience=self._audience,
                # The times are checked here, by the service's one clock.
                options={"require": REQUIRED_CLAIMS, "verify_exp": False, "verify_iat": False},
            )
        # A forged header may also nest too deeply or have values of other types.
        except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError):
            raise InvalidToken from None
        return Verified(_read_claims(payload), payload["iat"], payload["exp"])

    def _key(self, kind: TokenType, header: Mapping[str, object]) -> Key:
        """Return the key of the token's type that `kid` names, whatever its `alg` says."""
        if header.get("typ") != kind.value:
            raise InvalidToken
        key_id = header.get("kid")
        if kind is TokenType.REFRESH:
            key = self._secret if key_id == self._secret.kid else None
        else:
            key = self.keys.find(key_id) if isinstance(key_id, str) else None
        if key is None:
            raise InvalidToken
        return key


def _check_form(token: str) -> None:
    """Raise InvalidToken for a text that base64 decodes to a token, but is not that token.

    PyJWT skips characters that are not of base64's alphabet, and bits after the signature's last.
    """
    if _FORM.fullmatch(token) is None:
        raise InvalidToken
    signature = token.rpartition(".")[2].encode()
    if base64url_encode(base64url_decode(signature)) != signature:
        raise InvalidToken


def _read_header(token: str) -> Mapping[str, object]:
    """Return the header, not verified yet; PyJWT's own function decodes the whole token for it."""
    header = json.loads(base64url_decode(token.partition(".")[0]))
    if not isinstance(header, dict):
        raise InvalidToken
    return header


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
