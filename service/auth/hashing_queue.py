"""The threads that hash passwords, and the bounded queue of the callers that wait for one."""

import asyncio
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, TypeVar

from service.errors import Unavailable

WAIT_MAX: Final = 5.0  # seconds that a caller who is let into the queue is predicted to wait
# Seconds after which a caller leaves the queue, because hashing became slower than was predicted.
# With a hash and the database after it, no login succeeds later than 10 s.
PATIENCE: Final = 8.0
# Seconds over which refused callers are spread; not all of them come back.
SPREAD: Final = 10.0
FIRST_DURATION: Final = 0.05  # seconds that work takes, until it was measured
MEMORY: Final = 0.8  # the share of the intervals before in the one predicted
LIGHTER: Final = 9  # by this all hashing threads together weigh less than the event loop's
STEP: Final = 1.25  # by this a thread weighs less for each step of niceness (sched(7))

T = TypeVar("T")


class HashingQueue:
    """Computes off the event loop, a bounded number at a time, in the order of the calls."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._executor = ThreadPoolExecutor(
            threads, thread_name_prefix="password", initializer=_lower_weight, initargs=(threads,)
        )
        # What follows belongs to the event loop's thread, so that it needs no lock.
        self._pending = 0
        # Between two ends of work while all threads are busy, in seconds.
        self._interval = FIRST_DURATION / threads
        self._progress = 0.0  # when work ended last, or began after a pause
        self._last_turn = 0.0  # when the caller refused last may come back

    @property
    def pending(self) -> int:
        """The number of calls that are under way or queued."""
        return self._pending

    def predict_wait(self) -> float:
        """Return the seconds that a caller who comes now would wait for a thread."""
        ahead = self._pending + 1 - self._threads
        if ahead <= 0:
            return 0.0
        # Work that takes longer than usual may take as long again.
        late = max(0.0, time.monotonic() - self._progress - self._interval)
        return ahead * self._interval + late

    def require_room(self) -> None:
        """Raise Unavailable if a caller who comes now would wait longer than WAIT_MAX."""
        if self.predict_wait() > WAIT_MAX:
            raise self._refusal()

    async def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, in a thread.

        Raises Unavailable at once if the caller would wait longer than WAIT_MAX, and after PATIENCE
        if it did. A caller that is cancelled leaves the queue.
        """
        self.require_room()
        job = self._executor.submit(work)
        if self._pending == 0:
            self._progress = time.monotonic()
        self._pending += 1
        loop = asyncio.get_running_loop()
        # Counted until the thread is done, even when the caller has left.
        job.add_done_callback(lambda ended: loop.call_soon_threadsafe(self._on_done, ended))
        result = asyncio.wrap_future(job)
        try:
            await asyncio.wait([result], timeout=PATIENCE)
            if not result.done() and job.cancel():
                raise self._refusal()
            return await result
        finally:
            result.cancel()

    def close(self) -> None:
        """Stop the threads after the work that they are at."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _on_done(self, job: Future[Any]) -> None:
        self._pending -= 1
        if job.cancelled():
            return
        now = time.monotonic()
        busy = min(self._pending + 1, self._threads)
        # A machine that stood still must not keep everyone out afterwards.
        last = min(now - self._progress, WAIT_MAX) * busy / self._threads
        self._interval = last + (self._interval - last) * MEMORY
        self._progress = now

    def _refusal(self) -> Unavailable:
        now = time.monotonic()
        # Those who were refused before come back first, so that not all do in the same moment.
        turn = min(self._last_turn + self._interval, now + SPREAD)
        self._last_turn = max(now + self.predict_wait() - WAIT_MAX, turn)
        retry_after = max(1, math.ceil(self._last_turn - now))
        message = "Too many people are signing in; try again in a moment"
        return Unavailable(message, retry_after=retry_after)


def _lower_weight(threads: int) -> None:
    """Make this thread so nice that all of them together weigh a ninth of the event loop's.

    They get more than that, because they take whatever the loop leaves while it waits: two
    processes that saturate two cores hash a third of what they would without readers, however many
    threads hash. SCHED_IDLE would not do: while requests saturate the machine, such a thread hardly
    ever runs.
    """
    if sys.platform == "linux":  # elsewhere a thread has no niceness of its own
        thread = threading.get_native_id()
        steps = round(math.log(LIGHTER * threads, STEP))
        niceness = os.getpriority(os.PRIO_PROCESS, thread) + steps
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, min(niceness, 19))
