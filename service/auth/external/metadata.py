"""What an OpenID provider says of itself: its endpoints (OpenID Connect Discovery) and its keys."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt

from service.auth.external.errors import ProviderUnavailable
from service.settings.external import ExternalProvider, ProviderKind, is_secure

# Signatures that anybody can check and only the provider can make.
ASYMMETRIC: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
DEFAULT_ALGORITHM: Final = "RS256"
RSA_BITS_MIN: Final = 2048
KEYS_MAX: Final = 100
_KEY_TYPES: Final = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
# Microsoft's issuers that stand for many tenants, each of which signs as itself.
_MANY_TENANTS: Final = re.compile(r"(?P<base>https?://[^/]+)/(common|organizations|consumers)/v2.0")
_GUID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
TENANT: Final = "{tenantid}"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is used of a provider's metadata (OpenID Connect Discovery, §3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    algorithms: Sequence[str]
    posts_secret: bool
    issuer_in_answers: bool


def read_metadata(provider: ExternalProvider, found: Any, *, production: bool) -> Metadata:
    """Return a provider's metadata. Raises ProviderUnavailable unless it is acceptable."""
    if not isinstance(found, dict):
        raise ProviderUnavailable
    issuer = found.get("issuer")
    if not isinstance(issuer, str) or not _is_own(provider, issuer):
        raise ProviderUnavailable
    names = ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")
    urls = {name: _url(found.get(name), production=production) for name in names}
    announced = _texts(found.get("id_token_signing_alg_values_supported"), [DEFAULT_ALGORITHM])
    algorithms = [name for name in announced if name in ASYMMETRIC]
    methods = _texts(found.get("token_endpoint_auth_methods_supported"), ["client_secret_basic"])
    if not algorithms or None in (urls[name] for name in names[:3]):
        raise ProviderUnavailable
    return Metadata(
        issuer,
        urls["authorization_endpoint"] or "",
        urls["token_endpoint"] or "",
        urls["jwks_uri"] or "",
        urls["userinfo_endpoint"],
        algorithms,
        "client_secret_basic" not in methods and "client_secret_post" in methods,
        found.get("authorization_response_iss_parameter_supported") is True,
    )


def _is_own(provider: ExternalProvider, issuer: str) -> bool:
    if issuer == provider.issuer:
        return True
    many = _MANY_TENANTS.fullmatch(provider.issuer)
    if provider.kind is not ProviderKind.MICROSOFT or many is None:
        return False
    pattern = rf"{re.escape(many['base'])}/({re.escape(TENANT)}|{_GUID})/v2\.0"
    return re.fullmatch(pattern, issuer) is not None


def is_issuer(metadata: Metadata, issuer: object, tenant: object) -> bool:
    """Whether an id token's issuer is the provider; `tenant` is the token's `tid`."""
    expected = metadata.issuer
    if TENANT in expected:
        if not isinstance(tenant, str) or re.fullmatch(_GUID, tenant) is None:
            return False
        expected = expected.replace(TENANT, tenant)
    return issuer == expected


def issuer_template(issuer: str) -> str | None:
    """Return the template that a tenant's issuer may be of, or None."""
    match = re.fullmatch(rf"(?P<base>https?://[^/]+)/{_GUID}/v2\.0", issuer)
    return None if match is None else f"{match['base']}/{TENANT}/v2.0"


def _url(found: object, *, production: bool) -> str | None:
    if not isinstance(found, str) or re.fullmatch(r"https?://[!-~]+", found) is None:
        return None
    return found if is_secure(found, production=production) and "#" not in found else None


def _texts(found: object, default: Sequence[str]) -> Sequence[str]:
    if not isinstance(found, list):
        return default
    return [text for text in found if isinstance(text, str)]


@dataclass(frozen=True, slots=True)
class Key:
    """A public key of a provider that signs."""

    kid: str | None
    key_type: str
    algorithm: str | None
    key: Any

    def fits(self, algorithm: str) -> bool:
        """Whether the key makes signatures of an algorithm."""
        of_type = _KEY_TYPES[algorithm[:2]] == self.key_type
        return of_type and self.algorithm in (None, algorithm)


def read_keys(found: Any) -> Sequence[Key]:
    """Return the keys of a set (RFC 7517, §5) that can sign. Raises ProviderUnavailable for none.

    Others, such as secrets and keys for encryption, are left out.
    """
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise ProviderUnavailable
    keys = [key for key in map(_read_key, listed[:KEYS_MAX]) if key is not None]
    if not keys:
        raise ProviderUnavailable
    return keys


def _read_key(found: Any) -> Key | None:
    if not isinstance(found, dict) or not _signs(found):
        return None
    kid, algorithm = found.get("kid"), found.get("alg")
    key_type = found.get("kty")
    if not isinstance(key_type, str) or key_type not in _KEY_TYPES.values():
        return None
    default = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}[key_type]
    try:
        key = jwt.PyJWK.from_dict(found, algorithm or _of_curve(found) or default).key
    except Exception:  # noqa: BLE001 - whatever a set may hold
        return None
    if key_type == "RSA" and key.key_size < RSA_BITS_MIN:
        return None
    return Key(
        kid if isinstance(kid, str) else None,
        key_type,
        algorithm if isinstance(algorithm, str) else None,
        key,
    )


def _of_curve(found: Mapping[str, Any]) -> str | None:
    return {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}.get(str(found.get("crv")))


def _signs(found: Mapping[str, Any]) -> bool:
    operations = found.get("key_ops")
    verifies = not isinstance(operations, list) or "verify" in operations
    # One with a private part is nobody's any more.
    return found.get("use") in (None, "sig") and verifies and "d" not in found
