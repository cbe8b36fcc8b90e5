"""Password hashing: argon2id, in threads of its own, a bounded number at a time.

Parameters are OWASP's (Password Storage Cheat Sheet): 19 MiB, two passes, one lane; about 40 ms.
argon2 and hashlib release the GIL, so the event loop goes on meanwhile.
"""

import asyncio
import base64
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION

from service.auth.werkzeug_hashes import is_foreign, verify_foreign
from service.errors import Unavailable

QUEUE_PER_THREAD: Final = 32  # beyond it a caller would wait longer than about 4 s
# With more than so many waiting for a thread it rests before each hash, for a multiple of the
# time that one takes: 19 MiB of memory go through the caches of all cores, and the logins' own
# work in the database through the event loop. What waits for long waits longer, readers don't.
CROWD_PER_THREAD: Final = 16
REST: Final = 3.0
HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)

T = TypeVar("T")


class Passwords:
    """Hashes and verifies passwords off the event loop."""

    def __init__(self, threads: int | None = None, hasher: PasswordHasher = HASHER) -> None:
        # One core is left to the event loop and the database.
        threads = threads or max(1, (os.cpu_count() or 1) - 1)
        self._hasher = hasher
        self._executor = ThreadPoolExecutor(
            threads, thread_name_prefix="password", initializer=_give_way
        )
        self._capacity = threads * (1 + QUEUE_PER_THREAD)
        self._crowd = threads * (1 + CROWD_PER_THREAD)
        self._duration = 0.0  # of the last hash, in seconds
        self._waiting = 0
        self._dummy = hash_of_nothing(hasher)

    @property
    def waiting(self) -> int:
        """How many hashes are under way or queued."""
        return self._waiting

    async def hash(self, password: str) -> str:
        """Hash a password. Raises Unavailable when too many wait."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Tell whether the password is right; None, for no account, takes as long and is False.

        Raises Unavailable when too many wait.
        """
        matches = await self._run(lambda: self._matches(password, hashed or self._dummy))
        return matches and hashed is not None

    def needs_rehash(self, hashed: str) -> bool:
        """Tell whether the hash was made in another way than today's."""
        return is_foreign(hashed) or self._hasher.check_needs_rehash(hashed)

    def close(self) -> None:
        """Stop the threads once their work in hand is done."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _matches(self, password: str, hashed: str) -> bool:
        if is_foreign(hashed):
            return verify_foreign(password, hashed)
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= self._capacity:
            raise Unavailable("Too many people are signing in; try again in a moment")
        self._waiting += 1
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._executor, self._paced, work)
        # Counted until the thread is done, not until the caller has gone away.
        future.add_done_callback(self._one_done)
        return await asyncio.shield(future)

    def _paced(self, work: Callable[[], T]) -> T:
        if self._waiting > self._crowd:
            time.sleep(self._duration * REST)
        started = time.monotonic()
        try:
            return work()
        finally:
            self._duration = time.monotonic() - started

    def _one_done(self, _future: object) -> None:
        self._waiting -= 1


def hash_of_nothing(hasher: PasswordHasher) -> str:
    """What an unknown account is verified against: it costs what a known one costs.

    Random bytes in the form of a hash (PHC string, as RFC 9106's reference implementation writes
    it), for a real one would cost each start 40 ms.
    """
    salt, digest = (
        base64.b64encode(os.urandom(length)).rstrip(b"=").decode()
        for length in (hasher.salt_len, hasher.hash_len)
    )
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v={ARGON2_VERSION}${costs}${salt}${digest}"


def _give_way() -> None:
    """Let whoever answers requests go first on a busy machine.

    Not by niceness: Linux lets even the nicest thread end its time slice of about 3 ms before
    another that wakes up goes on, which readers feel; an idle one it interrupts at once.
    """
    if sys.platform == "linux":  # only there a thread has a priority of its own
        with suppress(OSError):
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))
