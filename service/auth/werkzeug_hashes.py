"""Verification of the password hashes that Werkzeug makes, which imported accounts have.

`scrypt:N:r:p$salt$hex` and `pbkdf2:hash:iterations$salt$hex`. Their parameters are bounded, so that
a hostile row cannot cost the service its memory or time.
"""

import hashlib
import hmac
from typing import Final

METHODS: Final = ("scrypt:", "pbkdf2:")
SCRYPT_MEMORY: Final = 64 * 1024 * 1024  # bytes; Werkzeug's defaults take half of it
SCRYPT_PARALLELISM: Final = 8
PBKDF2_ITERATIONS: Final = 2_000_000  # twice Werkzeug's highest default
PBKDF2_HASHES: Final = frozenset({"sha1", "sha224", "sha256", "sha384", "sha512"})


def is_werkzeug(hashed: str) -> bool:
    """Whether a hash is one of Werkzeug's."""
    return hashed.startswith(METHODS)


def verify_werkzeug(password: str, hashed: str) -> bool:
    """Whether a password is right; False for a hash that is malformed or too costly."""
    try:
        method, salt, expected = hashed.split("$")
        name, *parameters = method.split(":")
        derive = _scrypt if name == "scrypt" else _pbkdf2
        digest = bytes.fromhex(expected)  # first: a malformed hash costs no derivation
        return hmac.compare_digest(derive(password.encode(), salt.encode(), *parameters), digest)
    except (ValueError, TypeError):
        return False


def _scrypt(password: bytes, salt: bytes, n: str, r: str, p: str) -> bytes:
    cost, block, parallelism = int(n), int(r), int(p)
    if not (0 < parallelism <= SCRYPT_PARALLELISM and 128 * cost * block <= SCRYPT_MEMORY):
        raise ValueError("too costly")
    maxmem = 132 * cost * block * parallelism
    return hashlib.scrypt(password, salt=salt, n=cost, r=block, p=parallelism, maxmem=maxmem)


def _pbkdf2(password: bytes, salt: bytes, name: str, iterations: str) -> bytes:
    count = int(iterations)
    if name not in PBKDF2_HASHES or count > PBKDF2_ITERATIONS:
        raise ValueError("unknown or too costly")
    return hashlib.pbkdf2_hmac(name, password, salt, count)
