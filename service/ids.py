"""Ids and random tokens, from one place."""

import re
import secrets
from datetime import datetime
from typing import Final, TypeGuard
from uuid import UUID

import uuid_utils
import uuid_utils.compat

# The form with 36 characters only: no braces, no URN, no hexadecimal without dashes.
UUID_PATTERN: Final = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_UUID: Final = re.compile(UUID_PATTERN)


def new_id() -> UUID:
    """Return a new UUIDv7, ordered by time so that indexes grow at their end (RFC 9562, §5.7)."""
    return uuid_utils.compat.uuid7()


def new_id_text() -> str:
    """Return a new UUIDv7 as text, in a fifth of the time of `new_id`."""
    return str(uuid_utils.uuid7())


def new_id_at(moment: datetime) -> UUID:
    """Return a new UUIDv7 of the given time, to the millisecond (RFC 9562, §5.7)."""
    milliseconds = int(moment.timestamp() * 1000)
    random = secrets.randbits(74)  # 12 bits before the variant and 62 after it
    high, low = random >> 62, random & ((1 << 62) - 1)
    return UUID(int=milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low)


def is_id(value: object) -> TypeGuard[str]:
    """Whether a value is a UUID as text in its form with 36 characters (RFC 9562, §4)."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def parse_id(text: object) -> UUID | None:
    """Return the UUID in its form with 36 characters; None for anything else."""
    return UUID(text) if is_id(text) else None


def new_token() -> str:
    """Return an unguessable URL-safe token of 256 bits."""
    return secrets.token_urlsafe(32)
