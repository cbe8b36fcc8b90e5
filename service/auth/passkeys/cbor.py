"""A look at CBOR (RFC 8949) before it is decoded: what a client could make grow without end.

Tags let a value refer to another one, and the library encodes again what it decoded, and compares
the keys of maps: a hundred bytes that double a list thirty times over would never be done. CTAP2
(§6) allows no tags. Items follow each other, so that a look at the head of each needs no stack.
"""

from typing import Final

COUNTED: Final = 37  # bytes of authenticator data, up to its counter (WebAuthn, §6.1)
_FLAGS: Final = 32
_ATTESTED: Final = 0x40
_AAGUID: Final = 16
_BYTES, _TEXT, _TAG, _SIMPLE = 2, 3, 6, 7
_SHORT: Final = 23  # the largest argument that is in the head itself
_INDEFINITE: Final = 31


def require_untagged(encoded: bytes, start: int = 0, *, canonical: bool = False) -> None:
    """Raise ValueError for CBOR with tags; if it is to be canonical, also for all longer forms.

    Only the canonical form is as long when it is encoded again, by which the library finds what
    follows it.
    """
    at = start
    while at < len(encoded):
        major, argument = encoded[at] >> 5, encoded[at] & 31
        at += 1
        if major == _TAG or (canonical and argument == _INDEFINITE):
            raise ValueError("the CBOR has a tag or an indefinite length")
        if argument == _INDEFINITE:
            continue
        if argument > _SHORT:
            size = 1 << (argument - _SHORT - 1)
            if size > 8 or (canonical and major == _SIMPLE and size > 1):
                raise ValueError("the CBOR has a reserved head or a number with a fraction")
            argument = int.from_bytes(encoded[at : at + size], "big")
            at += size
            least = _SHORT + 1 if size == 1 else 1 << (4 * size)
            if canonical and argument < least:
                raise ValueError("the CBOR is longer than it need be")
        if major in (_BYTES, _TEXT):
            at += argument


def require_plain_data(data: object) -> bytes:
    """Return authenticator data, whose CBOR is canonical. Raises ValueError."""
    if not isinstance(data, bytes) or len(data) < COUNTED:
        raise ValueError("the authenticator data are too short")
    start = COUNTED
    if data[_FLAGS] & _ATTESTED:
        length = start + _AAGUID
        start = length + 2 + int.from_bytes(data[length : length + 2], "big")
    require_untagged(data, start, canonical=True)
    return data
