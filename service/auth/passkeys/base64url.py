"""Bytes as base64url without padding, as WebAuthn's JSON has them."""

from base64 import urlsafe_b64decode, urlsafe_b64encode


def to_base64url(value: bytes) -> str:
    """Return bytes as text."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Return the bytes of a text. Raises ValueError for a length that no bytes have."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
