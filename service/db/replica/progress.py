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
# Seconds for which a primary that failed a request is not asked by another that can do without.
FAILED_FOR: Final = 1.0


class Question(NamedTuple):
    """When the primary was asked, and which standby had replayed how much by then."""

    asked: float
    standby: int
    replayed: int


class Progress:
    """The positions of the primary and of one standby."""

    def __init__(self) -> None:
        self._watched = False
        # When the watcher lost the primary, when it last failed a request, and when it was asked
        # what it has answered since.
        self._lost = monotonic()
        self._failed = -inf
        self._answered = -inf
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
        self._watched = True
        self._newest = question.asked
        self._positions.append((question.asked, position))
        self._advance()

    def note_replica(self, replayed: int) -> None:
        """Note the position that the standby has replayed."""
        self._replayed = replayed
        self._advance()

    def note_loss(self) -> None:
        """Note that the primary is no longer watched."""
        if self._watched:
            self._watched = False
            self._lost = monotonic()

    def note_answer(self, asked: float) -> None:
        """Note that the primary has answered what it was asked at a time, be it with an error."""
        # An answer may be read after a loss that it came before: the question's time is sure.
        self._answered = max(self._answered, asked)

    def note_failure(self) -> None:
        """Note that the primary has not answered a request."""
        self._failed = monotonic()

    @property
    def primary_away(self) -> bool:
        """Whether the primary is not watched, and nothing proves that it is there all the same.

        The watcher alone cannot know: its one connection may be refused, or wait for longer than
        its patience, while requests are answered. So once one was, only a request that fails counts
        against the primary.
        """
        return not self._watched and max(self._lost, self._failed) > self._answered

    @property
    def failed_lately(self) -> bool:
        """Whether the primary has failed a request within FAILED_FOR, and answered none since."""
        return self._failed > max(self._answered, monotonic() - FAILED_FOR)

    def _advance(self) -> None:
        while self._positions and self._positions[0][1] <= self._replayed:
            self.covered, _ = self._positions.popleft()

    @property
    def lag(self) -> float:
        """The seconds that the standby is behind, at most; infinity when that is unknown.

        While the primary is away, it is what was known last; while it is there and not watched, it
        grows with the age of what is known.
        """
        if self._diverged or self.covered == -inf:
            return inf
        return (self._newest if self.primary_away else monotonic()) - self.covered
