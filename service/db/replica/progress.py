"""How far a standby follows its primary, in this process's monotonic time.

The primary says now and then how far its log reaches. Once the standby has replayed as much, all
that was committed before the question is visible there. So neither clock nor age of the last
transaction counts, and an idle primary, or a standby that lost its primary, looks like no other.
"""

from collections import deque
from math import inf
from time import monotonic
from typing import Final, NamedTuple

# Positions of the primary that are kept: what a standby further behind lacks is not needed.
_KEPT: Final = 1_000


class Question(NamedTuple):
    """When the primary was asked, and which standby had replayed how much by then."""

    asked: float
    standby: int
    replayed: int


class Progress:
    """The positions of the primary and of one standby."""

    def __init__(self) -> None:
        self.primary_away = True
        self._newest = -inf  # when the primary was asked last, of the times that it answered
        self._standby = 0
        self.restart()

    def restart(self) -> None:
        """Forget the standby: another one follows, or the same one anew."""
        self._standby += 1
        self._replayed = 0
        # All that was committed before this time is visible on the standby.
        self.covered = -inf
        self._diverged = False
        self._positions: deque[tuple[float, int]] = deque(maxlen=_KEPT)

    def question(self) -> Question:
        """Return what must be known of the moment at which the primary is asked."""
        return Question(monotonic(), self._standby, self._replayed)

    def note_primary(self, question: Question, position: int) -> None:
        """Note the primary's position."""
        # No standby is ahead of its own primary: another server was promoted, which had less.
        if question.standby == self._standby and position < question.replayed:
            self._diverged = True
        self.primary_away = False
        self._newest = question.asked
        self._positions.append((question.asked, position))
        self._advance()

    def note_replica(self, replayed: int) -> None:
        """Note the position that the standby has replayed."""
        self._replayed = replayed
        self._advance()

    def _advance(self) -> None:
        while self._positions and self._positions[0][1] <= self._replayed:
            self.covered, _ = self._positions.popleft()

    @property
    def lag(self) -> float:
        """The seconds that the standby is behind, at most; infinity when that is unknown.

        While the primary is away, it is what was known last.
        """
        if self._diverged or self.covered == -inf:
            return inf
        return (self._newest if self.primary_away else monotonic()) - self.covered
