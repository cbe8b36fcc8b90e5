"""The challenges that passkeys sign: signed themselves, and stored nowhere until one is answered.

A challenge is its purpose (1 byte), its end (4), random bytes (11) and an HMAC (16), which also
covers what it is bound to: a session, a waiting login. The credential shows its challenge, so that
clients carry no id.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final
from uuid import UUID

from service import clock
from service.settings import Settings

LIFE: Final = 600  # seconds: a prompt of autofill stays open long
_SIGNED: Final = 16  # bytes before the HMAC
_LENGTH: Final = 32


class Purpose(IntEnum):
    """What a challenge is good for."""

    ADD_PASSKEY = 1
    ADD_SECURITY_KEY = 2
    LOG_IN = 3
    SECOND_FACTOR = 4
    STEP_UP = 5


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenge of the service's own making that has not ended."""

    value: bytes
    purpose: Purpose
    expires_at: datetime


class Challenges:
    """Issues and reads challenges."""

    def __init__(self, settings: Settings) -> None:
        secret = settings.secret_key.get_secret_value().encode()
        # A key of its own, so that nothing else that SECRET_KEY signs is a challenge.
        self._key = hmac.digest(secret, b"passkey challenge", hashlib.sha256)

    def issue(self, purpose: Purpose, binding: bytes = b"") -> bytes:
        """Return a new challenge, good for LIFE seconds and only with the same binding."""
        end = int(clock.now().timestamp()) + LIFE
        signed = bytes([purpose]) + end.to_bytes(4, "big") + secrets.token_bytes(11)
        return signed + self._sign(signed, binding)

    def read(self, value: bytes, binding: bytes = b"") -> Challenge | None:
        """Return a challenge, or None for one of others, of another binding, or too old."""
        signed, signature = value[:_SIGNED], value[_SIGNED:]
        if len(value) != _LENGTH or not hmac.compare_digest(self._sign(signed, binding), signature):
            return None
        expires_at = datetime.fromtimestamp(int.from_bytes(signed[1:5], "big"), UTC)
        if expires_at <= clock.now():
            return None
        return Challenge(value, Purpose(signed[0]), expires_at)

    def _sign(self, signed: bytes, binding: bytes) -> bytes:
        return hmac.digest(self._key, signed + binding, hashlib.sha256)[:16]


def session_binding(session_id: UUID, sign_in_epoch: int) -> bytes:
    """Return what binds a challenge to a login session, until its account changes."""
    return session_id.bytes + sign_in_epoch.to_bytes(4, "big")
