"""The two ceremonies of WebAuthn: the library's checks, and those that it leaves out.

Importing the library takes a quarter of a second and 24 MiB, so that only verification.py imports
this, when the first credential is shown. Any exception means that the credential is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers import decode_credential_public_key, decoded_public_key_to_cryptography
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import CredentialDeviceType

from service.auth.passkeys.base64url import from_base64url, to_base64url
from service.auth.passkeys.cbor import require_plain_data, require_untagged
from service.auth.passkeys.credentials import AssertionCredential, RegistrationCredential
from service.settings.relying_party import RelyingParty

CREDENTIAL_ID_MAX: Final = 1023  # bytes (WebAuthn, §4)
# Longer keys take long to verify with.
RSA_BITS: Final = range(2048, 4097)
# A long one makes each verification several times as dear.
RSA_EXPONENT_MAX: Final = 2**32
_ALGORITHMS: Final = [
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A new credential that was accepted."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    aaguid: UUID
    synced: bool


@dataclass(frozen=True, slots=True)
class Assertion:
    """What an authenticator said beside its signature."""

    sign_count: int
    synced: bool


def check_registration(
    credential: RegistrationCredential,
    challenge: bytes,
    relying_party: RelyingParty,
    *,
    verified_user: bool,
) -> NewCredential:
    """Return a new credential that answers a challenge; of a verified user if that is asked."""
    sent = credential.model_dump()
    sent["response"]["attestationObject"] = _without_attestation(
        credential.response.attestationObject
    )
    found = verify_registration_response(
        credential=sent,
        expected_challenge=challenge,
        expected_rp_id=relying_party.id,
        expected_origin=list(relying_party.origins),
        require_user_verification=verified_user,
        supported_pub_key_algs=_ALGORITHMS,
    )
    # The client's `id` may be another than the one that the authenticator says.
    if len(found.credential_id) > CREDENTIAL_ID_MAX:
        raise ValueError("the credential's id is too long")
    _check_key(found.credential_public_key)
    return NewCredential(
        found.credential_id,
        found.credential_public_key,
        found.sign_count,
        UUID(found.aaguid),
        found.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
    )


def check_assertion(
    credential: AssertionCredential,
    challenge: bytes,
    relying_party: RelyingParty,
    public_key: bytes,
    *,
    verified_user: bool,
) -> Assertion:
    """Return what an authenticator says that answers a challenge by its credential's key."""
    # Before the library decodes it, which it does before it looks at the signature.
    require_plain_data(from_base64url(credential.response.authenticatorData))
    found = verify_authentication_response(
        credential=credential.model_dump(exclude_none=True),
        expected_challenge=challenge,
        expected_rp_id=relying_party.id,
        expected_origin=list(relying_party.origins),
        credential_public_key=public_key,
        # Counters are compared where they are stored, in one statement.
        credential_current_sign_count=0,
        require_user_verification=verified_user,
    )
    synced = found.credential_device_type is CredentialDeviceType.MULTI_DEVICE
    return Assertion(found.new_sign_count, synced)


def _without_attestation(encoded: str) -> str:
    """Return an attestation object without its statement.

    The library would verify the statement, with certificates of the client's, although none was
    asked for.
    """
    sent = from_base64url(encoded)
    require_untagged(sent)
    attested: Mapping[str, Any] = cbor2.loads(sent)
    bare = {"fmt": "none", "attStmt": {}, "authData": require_plain_data(attested["authData"])}
    return to_base64url(cbor2.dumps(bare))


def _check_key(encoded: bytes) -> None:
    """Raise ValueError for a public key that is not what its algorithm needs."""
    decoded = decode_credential_public_key(encoded)
    match decoded.alg, decoded_public_key_to_cryptography(decoded):
        case COSEAlgorithmIdentifier.EDDSA, ed25519.Ed25519PublicKey():
            pass
        case (
            COSEAlgorithmIdentifier.ECDSA_SHA_256,
            ec.EllipticCurvePublicKey(curve=ec.SECP256R1()),
        ):
            pass
        case (
            COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
            rsa.RSAPublicKey(key_size=size) as key,
        ) if size in RSA_BITS and key.public_numbers().e < RSA_EXPONENT_MAX:
            pass
        case _:
            raise ValueError("the key does not fit its algorithm")
