"""The service's one clock, held by a test."""

from datetime import datetime, timedelta

import pytest

from service import clock


class Clock:
    """A clock that goes on by itself and can be moved."""

    def __init__(self) -> None:
        self.offset = timedelta()
        self._real = clock.now

    def now(self) -> datetime:
        return self._real() + self.offset

    def advance(self, seconds: float) -> None:
        self.offset += timedelta(seconds=seconds)


def hold(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Put a movable clock in the place of the service's."""
    held = Clock()
    monkeypatch.setattr(clock, "now", held.now)
    return held
