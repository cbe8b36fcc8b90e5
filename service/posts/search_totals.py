"""A cache of searches with more matches than the cap, which are not counted again.

A number of matches stays over the cap until more posts are lost than it exceeded the cap by. The
database counts the losses, in the transaction that loses the posts, and each search reads them in
the same snapshot as its posts, so that no post is gone without its loss.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from service.posts import search
from service.posts.search import SearchPlan

_SIZE: Final = 1_000
# New posts since the plan was chosen, after which it is chosen again.
_GAINS: Final = 10_000


@dataclass(frozen=True, slots=True)
class PostCounters:
    """The counters of posts in one snapshot."""

    posts: int
    losses: int
    # The account that had the author's name, which another may take.
    author_id: UUID | None


@dataclass(frozen=True, slots=True)
class ProvenTotal:
    """The number of matches found by a plan, and the counters at that time."""

    found: int
    plan: SearchPlan
    then: PostCounters

    def holds(self, now: PostCounters) -> bool:
        """Whether more than TOTAL_CAP posts match now, and the plan is still a good one."""
        lost = now.losses - self.then.losses
        gained = now.posts - self.then.posts + lost
        return (
            now.author_id == self.then.author_id
            # Negative on another database than before. (A standby that took over goes unnoticed
            # once it has counted more losses than it missed.)
            and 0 <= lost < self.found - search.TOTAL_CAP
            and 0 <= gained <= _GAINS
        )


class TotalsCache:
    """The totals of the last searches in this process, which are over the cap."""

    def __init__(self, size: int = _SIZE) -> None:
        self._size = size
        self._totals: OrderedDict[Hashable, ProvenTotal] = OrderedDict()

    def __len__(self) -> int:
        return len(self._totals)

    def find(self, filters: Hashable) -> ProvenTotal | None:
        """Return the last total of a search, which may no longer hold, or None."""
        if filters in self._totals:
            self._totals.move_to_end(filters)
        return self._totals.get(filters)

    def keep(self, filters: Hashable, proven: ProvenTotal) -> None:
        """Store a search's total in place of the last one, or nothing when it is below the cap."""
        self._totals.pop(filters, None)
        if proven.found > search.TOTAL_CAP:
            self._totals[filters] = proven
        if len(self._totals) > self._size:
            self._totals.popitem(last=False)
