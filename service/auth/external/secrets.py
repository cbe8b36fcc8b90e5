"""The secrets of a sign-in that is under way, made anew from its state when they are needed."""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True, repr=False)
class FlowSecrets:
    """What the provider shows again in its id token, and what only this service can show it."""

    nonce: str
    verifier: str

    @property
    def challenge(self) -> str:
        """The verifier's S256 challenge (RFC 7636, §4.2)."""
        return challenge_of(self.verifier)


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of a verifier (RFC 7636, §4.2)."""
    return _base64url(hashlib.sha256(verifier.encode()).digest())


def digest_of(text: str) -> bytes:
    """Return what is stored of a state or a code."""
    return hashlib.sha256(text.encode()).digest()


class FlowKey:
    """Makes the secrets of sign-ins by a key that is derived from SECRET_KEY (RFC 5869)."""

    def __init__(self, secret_key: str) -> None:
        hkdf = HKDF(SHA256(), KEY_BYTES, salt=None, info=b"external flows")
        self._key = hkdf.derive(secret_key.encode())

    def secrets_of(self, state_digest: bytes) -> FlowSecrets:
        """Return the secrets of the sign-in whose state has a digest."""
        return FlowSecrets(
            self._make(b"nonce " + state_digest), self._make(b"verifier " + state_digest)
        )

    def _make(self, purpose: bytes) -> str:
        return _base64url(hmac.digest(self._key, purpose, "sha256"))


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
