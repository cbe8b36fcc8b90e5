"""The form of API keys: a prefix, random characters, and a checksum of these.

Scanners for leaked secrets find a key by the prefix, and know by the checksum that it is one.
"""

import hashlib
import re
import secrets
import string
import zlib
from typing import Final
from uuid import UUID

ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_LENGTH: Final = 30
CHECKSUM_LENGTH: Final = 6
HINT_LENGTH: Final = 4
_FORM: Final = re.compile(rf"[0-9A-Za-z]{{{RANDOM_LENGTH + CHECKSUM_LENGTH}}}")


def start_of(prefix: str) -> str:
    """Return what all keys begin with."""
    return f"{prefix}_"


def new_key(prefix: str) -> str:
    """Return a new key."""
    text = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return start_of(prefix) + text + checksum(text)


def checksum(text: str) -> str:
    """Return the CRC-32 of a text in base 62, with zeros in front."""
    rest, digits = zlib.crc32(text.encode()), ""
    while len(digits) < CHECKSUM_LENGTH:
        rest, digit = divmod(rest, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def is_key(prefix: str, text: str) -> bool:
    """Whether a text has the form of a key, and the right checksum."""
    start = start_of(prefix)
    if not text.startswith(start):
        return False
    rest = text[len(start) :]
    if _FORM.fullmatch(rest) is None:
        return False
    return checksum(rest[:RANDOM_LENGTH]) == rest[RANDOM_LENGTH:]


def digest_of(key: str) -> bytes:
    """Return the SHA-256 of a key, which alone is stored."""
    return hashlib.sha256(key.encode()).digest()


def lookup_of(digest: bytes) -> UUID:
    """Return the part of a digest by which its key is looked up."""
    return UUID(bytes=digest[:16])


def hint_of(prefix: str, key: str) -> str:
    """Return the characters by which an owner knows a key."""
    return f"{start_of(prefix)}…{key[-HINT_LENGTH:]}"
