"""Identifiers and randomness, from one place."""

import re
import secrets
from datetime import datetime
from typing import Final
from uuid import UUID

import uuid_utils
import uuid_utils.compat

# 36 characters with dashes; braces, URNs and bare hexadecimal are other spellings, not ids here.
UUID_PATTERN: Final = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_UUID: Final = re.compile(UUID_PATTERN)


def new_id() -> UUID:
    """Make a UUIDv7: ordered by time (RFC 9562, §5.7), so that indexes grow at their end."""
    return uuid_utils.compat.uuid7()


def new_id_text() -> str:
    """Make one as text, in a fifth of the time."""
    return str(uuid_utils.uuid7())


def new_id_at(moment: datetime) -> UUID:
    """Make a UUIDv7 of another moment than now, to the millisecond (RFC 9562, §5.7)."""
    milliseconds = int(moment.timestamp() * 1000)
    noise = secrets.randbits(74)  # 12 and 62 bits, around the variant
    high, low = noise >> 62, noise & ((1 << 62) - 1)
    return UUID(int=milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low)


def parse_id(text: object) -> UUID | None:
    """Read an id in its 36-character form; None for anything else."""
    if isinstance(text, str) and _UUID.fullmatch(text):
        return UUID(text)
    return None


def new_token() -> str:
    """Make an unguessable URL-safe token of 256 bits."""
    return secrets.token_urlsafe(32)
