"""Turns: so many callers at a time, the others in the order in which they came."""

import asyncio
from collections import deque


class FairSemaphore:
    """A semaphore that nobody passes, and that costs no task to wait for.

    `asyncio.Queue`, and so SQLAlchemy's pool, lets newcomers pass those who wait, and sends who was
    passed to the end of the queue: with hundreds waiting, some wait many times as long as most.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def acquire_nowait(self) -> bool:
        """Take a turn, if there is one."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def acquire(self, seconds: float) -> None:
        """Take a turn as soon as there is one. Raises TimeoutError when there is none in time."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.release()  # it came when we were about to leave
            elif turn in self._waiting:
                self._waiting.remove(turn)
            raise

    def release(self) -> None:
        """End a turn: the next one's begins."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
