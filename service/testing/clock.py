"""The service's time, in the hands of a test."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from service import clock


class Clock:
    """A clock that goes on by itself and can be moved."""

    def __init__(self) -> None:
        self.offset = timedelta()
        self._real = clock.now

    def now(self) -> datetime:
        """The moment that the service takes for the present, in UTC."""
        return self._real() + self.offset

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.offset += timedelta(seconds=seconds)


@contextmanager
def movable_clock() -> Iterator[Clock]:
    """A clock in the place of the service's, in this process, until the block ends."""
    moved, real = Clock(), clock.now
    clock.now = moved.now
    try:
        yield moved
    finally:
        clock.now = real
