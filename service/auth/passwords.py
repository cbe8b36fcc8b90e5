"""Password hashing by argon2id, in threads of its own, with a bounded queue.

Parameters are OWASP's (Password Storage Cheat Sheet): 19 MiB, two passes, one lane; about 40 ms.
argon2 and hashlib release the GIL, so that the event loop goes on meanwhile.
"""

import asyncio
import base64
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from argon2.low_level import ARGON2_VERSION

from service.auth.werkzeug_hashes import is_werkzeug, verify_werkzeug
from service.canonical import normalize_password
from service.errors import Unavailable

QUEUE_PER_THREAD: Final = 32  # beyond it a caller would wait longer than about 4 s
# A hash takes 19 MiB through the caches of all cores, and each login work in the database. So with
# more logins waiting per thread than CROWD_PER_THREAD, a thread rests before each hash, REST times
# as long as the last one took: logins that wait long wait longer, and reads do not.
CROWD_PER_THREAD: Final = 16
REST: Final = 3.0
MEMORY: Final = 0.8  # the share of the durations before in what is usual
HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)

T = TypeVar("T")


OWN: Final = "argon2"


class Match(NamedTuple):
    """Whether a password is right and, if so, whether another hash of it should be stored.

    It took `seconds` for `derivations`, one or two, by the `method` of another service, or
    by "", the own.
    """

    right: bool
    outdated: bool
    derivations: int
    seconds: float
    method: str


class Passwords:
    """Hashes and verifies passwords off the event loop."""

    def __init__(self, threads: int | None = None, hasher: PasswordHasher = HASHER) -> None:
        # One core stays with the event loop and the database.
        threads = threads or max(1, (os.cpu_count() or 1) - 1)
        self._hasher = hasher
        self._executor = ThreadPoolExecutor(
            threads, thread_name_prefix="password", initializer=_lower_priority
        )
        self._capacity = threads * (1 + QUEUE_PER_THREAD)
        self._crowd = threads * (1 + CROWD_PER_THREAD)
        self._duration = 0.0  # of the last hash, in seconds
        self._usual: dict[str, float] = {}  # by method, seconds
        self._waiting = 0
        self._dummy = hash_of_nothing(hasher)

    @property
    def waiting(self) -> int:
        """The number of hashes that are under way or queued."""
        return self._waiting

    async def hash(self, password: str) -> str:
        """Return the hash of a password in its normal form (RFC 8265).

        Raises Unavailable when the queue is full.
        """
        return await self._run(lambda: self._hasher.hash(normalize_password(password)))

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Whether a password is right; without a hash False, after the same time.

        Raises Unavailable when the queue is full.
        """
        return (await self.match(password, hashed)).right

    async def match(self, password: str, hashed: str | None) -> Match:
        """Return how a password matches a hash; without one not at all, after the same time.

        Raises Unavailable when the queue is full.
        """
        match = await self._run(lambda: self._match(password, hashed or self._dummy))
        return match._replace(right=False) if hashed is None else match

    async def measure(self, methods: Iterable[str]) -> None:
        """Find out how long verification takes by each of Werkzeug's methods not met so far.

        Raises Unavailable when the queue is full.
        """
        for method in {OWN, *filter(is_werkzeug, methods)} - self._usual.keys():
            hashed = self._dummy if method == OWN else f"{method}$salt$00"
            await self._run(partial(self._matches, "", hashed))

    def slowest(self, methods: Iterable[str]) -> float:
        """Return the usual duration, in seconds, of the slowest of some methods and the own."""
        return max(self._usual.get(method, 0.0) for method in (OWN, *methods))

    def needs_rehash(self, hashed: str) -> bool:
        """Whether a hash is of another kind or with other parameters than new ones."""
        return is_werkzeug(hashed) or self._hasher.check_needs_rehash(hashed)

    def close(self) -> None:
        """Stop the threads after the hashes that they are computing."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _match(self, password: str, hashed: str) -> Match:
        started = time.perf_counter()
        normal = normalize_password(password)
        # Hashes of older releases and of other services are of the password as it was typed.
        forms = (normal,) if normal == password else (normal, password)
        right = outdated = False
        for number, form in enumerate(forms, 1):
            right = self._matches(form, hashed)
            if right:
                outdated = number > 1 or self.needs_rehash(hashed)
                break
        seconds, method = time.perf_counter() - started, hashed.partition("$")[0]
        return Match(right, outdated, number, seconds, method)

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

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= self._capacity:
            raise Unavailable("Too many people are signing in; try again in a moment")
        self._waiting += 1
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._executor, self._paced, work)
        # Counted until the thread is done, even when the caller has left.
        future.add_done_callback(self._on_done)
        return await asyncio.shield(future)

    def _paced(self, work: Callable[[], T]) -> T:
        if self._waiting > self._crowd:
            time.sleep(self._duration * REST)
        started = time.monotonic()
        try:
            return work()
        finally:
            self._duration = time.monotonic() - started

    def _on_done(self, _future: object) -> None:
        self._waiting -= 1


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


def _lower_priority() -> None:
    """Run this thread only when the machine is idle, so that requests go first.

    Niceness would not do: even the nicest thread ends its time slice of about 3 ms on Linux before
    one that wakes up goes on, which slows reads; SCHED_IDLE is interrupted at once.
    """
    if sys.platform == "linux":  # elsewhere a thread has no priority of its own
        with suppress(OSError):
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))
