"""Encryption of an account's secrets with AES-256-GCM (NIST SP 800-38D).

Stored are the key's id, a random nonce, and the encrypted text with its tag. The tag also covers
the purpose and the account's id, so that a row copied to another account cannot be decrypted.
"""

import os
from typing import Final
from uuid import UUID

import structlog
from cryptography.exceptions import InvalidTag

from service.auth.encryption.encryption_keys import (
    KEY_ID_BYTES,
    EncryptionKey,
    load_encryption_keys,
)
from service.errors import Unavailable
from service.settings import Settings

# The purpose of the secrets of authenticator apps, in use or waiting.
TOTP_SECRET: Final = "totp"  # noqa: S105
NONCE_BYTES: Final = 12
# Seconds: an operator has to give the key back first.
RETRY_AFTER: Final = 60

log: Final = structlog.get_logger(__name__)


class SecretUnreadable(Unavailable):
    """A stored secret cannot be decrypted: its key is missing, or the row was altered."""

    default_message = "A secret of this account cannot be read at present; try again later"


class Encryption:
    """Encrypts and decrypts with the settings' keys: the first encrypts, all decrypt."""

    def __init__(self, settings: Settings) -> None:
        self._keys = load_encryption_keys(settings)

    @property
    def key_ids(self) -> tuple[bytes, ...]:
        """The ids of the keys, in their order."""
        return tuple(key.id for key in self._keys)

    def encrypt(self, purpose: str, user_id: UUID, secret: bytes) -> bytes:
        """Return what to store of an account's secret."""
        key, nonce = self._keys[0], os.urandom(NONCE_BYTES)
        return key.id + nonce + key.cipher.encrypt(nonce, secret, _context(purpose, user_id))

    def decrypt(self, purpose: str, user_id: UUID, stored: bytes) -> bytes:
        """Return the secret of an account. Raises SecretUnreadable (503)."""
        secret = self._open(purpose, user_id, stored)
        if secret is None:
            key_id = stored[:KEY_ID_BYTES]
            log.error(
                "secret not decrypted",
                purpose=purpose,
                user_id=str(user_id),
                key_id=key_id.hex(),
                reason="the row was altered" if key_id in self.key_ids else "its key is missing",
            )
            raise SecretUnreadable(retry_after=RETRY_AFTER)
        return secret

    def _open(self, purpose: str, user_id: UUID, stored: bytes) -> bytes | None:
        begin = KEY_ID_BYTES + NONCE_BYTES
        key_id, nonce, text = stored[:KEY_ID_BYTES], stored[KEY_ID_BYTES:begin], stored[begin:]
        # All that have the id: two keys may share it.
        for key in self._keys:
            if key.id == key_id:
                secret = _decrypt(key, nonce, text, purpose, user_id)
                if secret is not None:
                    return secret
        return None


def _decrypt(
    key: EncryptionKey, nonce: bytes, text: bytes, purpose: str, user_id: UUID
) -> bytes | None:
    try:
        return key.cipher.decrypt(nonce, text, _context(purpose, user_id))
    except (InvalidTag, ValueError):  # ValueError: it was cut off within the nonce
        return None


def _context(purpose: str, user_id: UUID) -> bytes:
    """Return the associated data, which is unambiguous: all ids have the same length."""
    return purpose.encode() + user_id.bytes
