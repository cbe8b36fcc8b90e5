"""A semaphore that serves its callers in the order in which they came."""

import asyncio
from collections import deque


class FairSemaphore:
    """A first-in, first-out semaphore; waiting for it costs no task.

    `asyncio.Queue`, and so SQLAlchemy's pool, lets newcomers overtake waiting callers, and sends an
    overtaken one to the end of the queue: of hundreds some wait many times as long as most.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many callers wait."""
        return len(self._waiting)

    def acquire_nowait(self) -> bool:
        """Acquire without waiting; whether that succeeded."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def acquire(self, seconds: float) -> None:
        """Acquire, waiting for `seconds` at most. Raises TimeoutError."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.release()  # acquired just as the wait ended
            elif turn in self._waiting:
                self._waiting.remove(turn)
            raise

    def release(self) -> None:
        """Release, and so let the caller that has waited longest acquire."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
