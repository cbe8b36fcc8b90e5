"""The encryption keys: those of ENCRYPTION_KEYS, or one that is derived from SECRET_KEY.

A key is known by its id, the first bytes of its SHA-256: there is no name to get wrong.
"""

import hashlib
from base64 import b64decode
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from service.settings import Settings
from service.settings.types import ENCRYPTION_KEY_BYTES

KEY_ID_BYTES: Final = 4


@dataclass(frozen=True, slots=True, repr=False)
class EncryptionKey:
    """A key for AES-256-GCM, and its id."""

    id: bytes
    cipher: AESGCM


def load_encryption_keys(settings: Settings) -> tuple[EncryptionKey, ...]:
    """Return the keys: the first encrypts, all decrypt."""
    listed = [b64decode(key.get_secret_value()) for key in settings.encryption_keys]
    return tuple(_key(secret) for secret in listed or [derived_key(settings)])


def derived_key(settings: Settings) -> bytes:
    """Return the key that is used without ENCRYPTION_KEYS, derived from SECRET_KEY (RFC 5869)."""
    # A purpose of its own, so that nothing else that comes of SECRET_KEY is this key.
    hkdf = HKDF(SHA256(), ENCRYPTION_KEY_BYTES, salt=None, info=b"encryption key")
    return hkdf.derive(settings.secret_key.get_secret_value().encode())


def key_id(key: bytes) -> bytes:
    """Return the id of a key."""
    return hashlib.sha256(key).digest()[:KEY_ID_BYTES]


def _key(secret: bytes) -> EncryptionKey:
    return EncryptionKey(key_id(secret), AESGCM(secret))
