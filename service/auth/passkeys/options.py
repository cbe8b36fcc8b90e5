"""The options of the two ceremonies, as browsers parse them (WebAuthn, level 3, §5.1)."""

from collections.abc import Iterable
from typing import Final, Literal

from service.auth.passkeys.base64url import to_base64url
from service.auth.passkeys.challenges import LIFE
from service.auth.rows import AccountNames
from service.settings.relying_party import RelyingParty

Kind = Literal["passkey", "security_key"]
UserVerification = Literal["required", "preferred"]
# EdDSA, ES256 and RS256 (COSE), in the order in which authenticators choose.
ALGORITHMS: Final = (-8, -7, -257)


def creation_options(
    relying_party: RelyingParty,
    challenge: bytes,
    user: AccountNames,
    kind: Kind,
    known: Iterable[bytes],
) -> dict[str, object]:
    """Return the response that asks for a new credential, other than the known ones."""
    # "preferred" is no way between: browsers refuse keys without PIN then, too.
    wish = "required" if kind == "passkey" else "discouraged"
    public_key = {
        "rp": {"id": relying_party.id, "name": relying_party.id},
        "user": {
            "id": to_base64url(user.id.bytes),
            "name": user.email,
            "displayName": user.username,
        },
        "challenge": to_base64url(challenge),
        "pubKeyCredParams": [{"type": "public-key", "alg": alg} for alg in ALGORITHMS],
        "timeout": LIFE * 1000,
        "excludeCredentials": [_descriptor(credential_id) for credential_id in known],
        "authenticatorSelection": {
            "residentKey": wish,
            "requireResidentKey": kind == "passkey",
            "userVerification": wish,
        },
        "attestation": "none",
    }
    return {"publicKey": public_key, "expires_in": LIFE}


def request_options(
    relying_party: RelyingParty,
    challenge: bytes,
    user_verification: UserVerification,
    allowed: Iterable[bytes] | None = None,
) -> dict[str, object]:
    """Return the response that asks for one of the allowed credentials, by default for any."""
    public_key: dict[str, object] = {
        "challenge": to_base64url(challenge),
        "timeout": LIFE * 1000,
        "rpId": relying_party.id,
        "userVerification": user_verification,
    }
    if allowed is not None:
        public_key["allowCredentials"] = [_descriptor(credential_id) for credential_id in allowed]
    return {"publicKey": public_key, "expires_in": LIFE}


def _descriptor(credential_id: bytes) -> dict[str, str]:
    return {"type": "public-key", "id": to_base64url(credential_id)}
