"""One-time codes by time (TOTP, RFC 6238): SHA-1, six digits, steps of 30 seconds."""

import hmac
import re
import secrets
from base64 import b32encode
from datetime import datetime
from typing import Final
from urllib.parse import quote

SECRET_BYTES: Final = 20  # 160 bits, as SHA-1's output (RFC 4226, §4)
DIGITS: Final = 6
STEP: Final = 30  # seconds
# Steps before and after the present one whose codes are accepted, because clocks differ.
TOLERANCE: Final = 1
# `\d`, str.isdigit() and Unicode's normal forms take digits of other scripts, too.
_FORM: Final = re.compile(rf"[0-9]{{{DIGITS}}}")


def new_secret() -> bytes:
    """Return a new random secret."""
    return secrets.token_bytes(SECRET_BYTES)


def base32(secret: bytes) -> str:
    """Return a secret as people type it into an authenticator app."""
    return b32encode(secret).decode()


def provisioning_uri(secret: bytes, issuer: str, email: str) -> str:
    """Return the `otpauth:` URI by which an authenticator app takes up a secret."""
    encoded = quote(issuer, safe="")
    label = f"{encoded}:{quote(email, safe='')}"
    return f"otpauth://totp/{label}?secret={base32(secret)}&issuer={encoded}"


def step_of(moment: datetime) -> int:
    """Return the time step of a moment (RFC 6238, §4.2)."""
    return int(moment.timestamp()) // STEP


def make_code(secret: bytes, step: int) -> str:
    """Return the code of a time step (RFC 4226, §5.3)."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0xF
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def find_step(secret: bytes, code: str, now: datetime) -> int | None:
    """Return the time step whose code this is, TOLERANCE steps from now at most, or None.

    The time that it takes does not depend on the step. Whether the step is spent is for the caller
    to judge: of two steps with the same code the later one is returned.
    """
    if _FORM.fullmatch(code) is None:
        return None
    present, found = step_of(now), None
    for step in range(present - TOLERANCE, present + TOLERANCE + 1):
        if hmac.compare_digest(make_code(secret, step), code):
            found = step
    return found
