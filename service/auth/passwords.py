"""Password hashing by argon2id, in the threads of a bounded queue.

Parameters are OWASP's (Password Storage Cheat Sheet): 19 MiB, two passes, one lane; about 40 ms.
argon2 and hashlib release the GIL, so that the event loop goes on meanwhile.
"""

import base64
import os
import time
from collections.abc import Iterable
from functools import partial
from typing import Final, NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from argon2.low_level import ARGON2_VERSION

from service.auth.hashing_queue import HashingQueue
from service.auth.werkzeug_hashes import is_werkzeug, verify_werkzeug
from service.canonical import normalize_password

MEMORY: Final = 0.8  # the share of the durations before in what is usual
HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
OWN: Final = "argon2"


class Match(NamedTuple):
    """Whether a password is right and, if so, the hash that should replace an outdated one.

    It took `seconds` for `derivations`, one or two, by the `method` of another service, or
    by "", the own.
    """

    right: bool
    derivations: int
    seconds: float
    method: str
    new_hash: str | None = None


class Passwords:
    """Hashes and verifies passwords off the event loop.

    Each call waits once in the queue, whatever it computes, and raises Unavailable when the wait
    would be too long.
    """

    def __init__(self, threads: int | None = None, hasher: PasswordHasher = HASHER) -> None:
        self._hasher = hasher
        # One core stays with the event loop and the database.
        self._queue = HashingQueue(threads or max(1, (os.cpu_count() or 1) - 1))
        self._usual: dict[str, float] = {}  # by method, seconds
        self._dummy = hash_of_nothing(hasher)

    @property
    def waiting(self) -> int:
        """The number of hashes that are under way or queued."""
        return self._queue.pending

    def require_room(self) -> None:
        """Raise Unavailable if a caller who comes now would wait too long."""
        self._queue.require_room()

    async def hash(self, password: str) -> str:
        """Return the hash of a password in its normal form (RFC 8265)."""
        return await self._queue.run(partial(self._hash, password))

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Whether a password is right; without a hash False, after the same time."""
        match = await self._queue.run(partial(self._match, password, hashed or self._dummy))
        return match.right and hashed is not None

    async def match(self, password: str, hashed: str | None) -> Match:
        """Return how a password matches a hash; without one not at all, after the same time."""
        match = await self._queue.run(partial(self._renew, password, hashed or self._dummy))
        return match._replace(right=False) if hashed is None else match

    async def change(self, password: str, hashed: str | None, new: str) -> str | None:
        """Return the hash of a new password if the present one is right, else None."""
        return await self._queue.run(partial(self._change, password, hashed, new))

    async def measure(self, methods: Iterable[str]) -> None:
        """Find out how long verification takes by each of Werkzeug's methods not met so far."""
        for method in {OWN, *filter(is_werkzeug, methods)} - self._usual.keys():
            hashed = self._dummy if method == OWN else f"{method}$salt$00"
            await self._queue.run(partial(self._matches, "", hashed))

    def slowest(self, methods: Iterable[str]) -> float:
        """Return the usual duration, in seconds, of the slowest of some methods and the own."""
        return max(self._usual.get(method, 0.0) for method in (OWN, *methods))

    def needs_rehash(self, hashed: str) -> bool:
        """Whether a hash is of another kind or with other parameters than new ones."""
        return is_werkzeug(hashed) or self._hasher.check_needs_rehash(hashed)

    def close(self) -> None:
        """Stop the threads after the hashes that they are computing."""
        self._queue.close()

    def _hash(self, password: str) -> str:
        return self._hasher.hash(normalize_password(password))

    def _change(self, password: str, hashed: str | None, new: str) -> str | None:
        right = self._match(password, hashed or self._dummy).right
        return self._hash(new) if right and hashed is not None else None

    def _renew(self, password: str, hashed: str) -> Match:
        match = self._match(password, hashed)
        if match.right and (match.derivations > 1 or self.needs_rehash(hashed)):
            return match._replace(new_hash=self._hash(password))
        return match

    def _match(self, password: str, hashed: str) -> Match:
        started = time.perf_counter()
        normal = normalize_password(password)
        # Hashes of older releases and of other services are of the password as it was typed.
        forms = (normal,) if normal == password else (normal, password)
        right, tried = False, 0
        while not right and tried < len(forms):
            right = self._matches(forms[tried], hashed)
            tried += 1
        seconds, method = time.perf_counter() - started, hashed.partition("$")[0]
        return Match(right, tried, seconds, method)

    def _matches(self, password: str, hashed: str) -> bool:
        started = time.perf_counter()
        matches = self._verify(password, hashed)
        method = hashed.partition("$")[0] if is_werkzeug(hashed) else OWN
        last = time.perf_counter() - started
        self._usual[method] = last + (self._usual.get(method, last) - last) * MEMORY
        return matches

    def _verify(self, password: str, hashed: str) -> bool:
        if is_werkzeug(hashed):
            return verify_werkzeug(password, hashed)
        try:
            return self._hasher.verify(hashed, password)
        except VerifyMismatchError:
            return False
        except (VerificationError, InvalidHashError):  # it can't be read: after the same time
            return hashed != self._dummy and self._verify(password, self._dummy)


def hash_of_nothing(hasher: PasswordHasher) -> str:
    """Return a hash of no password, which takes as long to verify as an account's.

    It is random bytes in the form of a hash (the PHC string of RFC 9106's reference
    implementation), because a real hash would cost each start 40 ms.
    """
    salt, digest = (
        base64.b64encode(os.urandom(length)).rstrip(b"=").decode()
        for length in (hasher.salt_len, hasher.hash_len)
    )
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v={ARGON2_VERSION}${costs}${salt}${digest}"
