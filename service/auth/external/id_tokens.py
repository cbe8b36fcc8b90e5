"""The check of an id token (OpenID Connect Core, §3.1.3.7)."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from hmac import compare_digest
from typing import Any, Final

import jwt

from service.auth.external.errors import ProviderRefused
from service.auth.external.metadata import Key, Metadata, is_issuer
from service.auth.external.models import SUBJECT_MAX

SKEW: Final = 60.0  # seconds by which the provider's clock may differ


class UnknownKey(Exception):
    """None of the keys is the one that the token names."""


def read_header(metadata: Metadata, token: object) -> tuple[str, str, str | None]:
    """Return a token, its algorithm and its key's id. Raises ProviderRefused.

    The algorithm is one that the provider announces, and asymmetric.
    """
    # PyJWT raises UnicodeEncodeError for others.
    if not isinstance(token, str) or not token.isascii():
        raise ProviderRefused
    try:
        header = jwt.get_unverified_header(token)
    except Exception:  # noqa: BLE001 - whatever a header may hold
        raise ProviderRefused from None
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in metadata.algorithms:
        raise ProviderRefused
    if header.get("typ") not in (None, "JWT", "jwt"):
        raise ProviderRefused
    if kid is not None and not isinstance(kid, str):
        raise ProviderRefused
    return token, algorithm, kid


def choose_key(keys: Sequence[Key], algorithm: str, kid: str | None) -> Key:
    """Return the key of a token. Raises UnknownKey, or ProviderRefused when several may be it."""
    fitting = [key for key in keys if key.fits(algorithm)]
    if kid is not None:
        fitting = [key for key in fitting if key.kid == kid]
    if not fitting:
        raise UnknownKey
    if len(fitting) > 1:
        raise ProviderRefused
    return fitting[0]


def verify(token: str, algorithm: str, key: Key) -> Mapping[str, Any]:
    """Return the claims of a token whose signature is right. Raises ProviderRefused."""
    unchecked = dict.fromkeys(
        ("verify_exp", "verify_iat", "verify_nbf", "verify_aud", "verify_iss", "verify_sub",
         "verify_jti"),
        False,
    )  # fmt: skip
    try:
        claims = jwt.decode(token, key.key, algorithms=[algorithm], options=unchecked)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - whatever a token may hold
        raise ProviderRefused from None
    return claims


def check_claims(
    claims: Mapping[str, Any], metadata: Metadata, client_id: str, nonce: str, now: datetime
) -> None:
    """Raise ProviderRefused unless a token is for this service, for this flow, and for now."""
    shown, moment = claims.get("nonce"), now.timestamp()
    expires, issued = _time(claims.get("exp")), _time(claims.get("iat"))
    subject = claims.get("sub")
    acceptable = (
        is_issuer(metadata, claims.get("iss"), claims.get("tid"))
        and _is_audience(claims, client_id)
        and expires is not None
        and expires > moment - SKEW
        and issued is not None
        and issued < moment + SKEW
        and isinstance(shown, str)
        and compare_digest(shown.encode(errors="replace"), nonce.encode())
        and isinstance(subject, str)
        and 1 <= len(subject) <= SUBJECT_MAX
        and subject.isprintable()
    )
    if not acceptable:
        raise ProviderRefused


def _is_audience(claims: Mapping[str, Any], client_id: str) -> bool:
    audience, party = claims.get("aud"), claims.get("azp")
    if isinstance(audience, str):
        audience = [audience]
    if not isinstance(audience, list) or client_id not in audience:
        return False
    # Of several audiences the token must say which one asked for it.
    return party == client_id or ("azp" not in claims and len(audience) == 1)


def _time(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        moment = float(value)
    except OverflowError:
        return None
    return moment if math.isfinite(moment) else None
