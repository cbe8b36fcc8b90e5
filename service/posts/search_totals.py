"""A cache of searches with more matches than the cap, which are not counted again.

A number of matches stays over the cap until more posts are lost than it exceeded the cap by. The
database counts the losses, in the transaction that loses the posts, and each search reads them in
the same snapshot as its posts, so that no post is gone without its loss.

A standby shows an earlier moment than the primary, and one cache serves both. A total holds back in
time as well: the posts gained since are then missing, and the lost ones are still there.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from operator import le
from time import monotonic
from typing import Final
from uuid import UUID

from service.posts import search
from service.posts.search import SearchPlan

_SIZE: Final = 1_000
# New posts since the plan was chosen, after which it is chosen again.
_GAINS: Final = 10_000
# Seconds for which no older total replaces one: more than the lag at which a standby is still read.
NEWER_FOR: Final = 30


@dataclass(frozen=True, slots=True)
class PostCounters:
    """The counters of posts in one snapshot."""

    posts: int
    losses: int
    # The account that had the author's name, which another may take.
    author_id: UUID | None

    @property
    def gains(self) -> int:
        """How often a post was gained, by a change too; like `losses` this number only grows."""
        return self.posts + self.losses

    def precedes(self, other: "PostCounters") -> bool:
        """Whether these are of an earlier moment than others, for certain."""
        mine, others = (self.losses, self.gains), (other.losses, other.gains)
        return mine != others and all(map(le, mine, others))


@dataclass(frozen=True, slots=True)
class ProvenTotal:
    """The number of matches found by a plan, and the counters at that time."""

    found: int
    plan: SearchPlan
    then: PostCounters

    def holds(self, now: PostCounters) -> bool:
        """Whether more than TOTAL_CAP posts match now, and the plan is still a good one."""
        lost = now.losses - self.then.losses
        gained = now.gains - self.then.gains
        spare = self.found - search.TOTAL_CAP
        # Of another database the signs differ, or one number is far below. (A standby that took
        # over goes unnoticed where it missed little, or has counted more than it missed.)
        later = 0 <= lost < spare and 0 <= gained <= _GAINS
        earlier = -spare < lost <= 0 and -spare < gained <= 0
        return now.author_id == self.then.author_id and (later or earlier)


class TotalsCache:
    """The totals of the last searches in this process, which are over the cap."""

    def __init__(self, size: int = _SIZE) -> None:
        self._size = size
        # With the monotonic time at which each was kept.
        self._totals: OrderedDict[Hashable, tuple[ProvenTotal, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._totals)

    def find(self, filters: Hashable) -> ProvenTotal | None:
        """Return the last total of a search, which may no longer hold, or None."""
        if filters not in self._totals:
            return None
        self._totals.move_to_end(filters)
        proven, _ = self._totals[filters]
        return proven

    def keep(self, filters: Hashable, proven: ProvenTotal) -> None:
        """Store a search's total in place of the last one, or nothing when it is below the cap.

        One that a standby has counted does not replace a newer one.
        """
        now = monotonic()
        if filters in self._totals:
            last, kept_at = self._totals[filters]
            if proven.then.precedes(last.then) and now - kept_at < NEWER_FOR:
                return
            del self._totals[filters]
        if proven.found > search.TOTAL_CAP:
            self._totals[filters] = proven, now
        if len(self._totals) > self._size:
            self._totals.popitem(last=False)
