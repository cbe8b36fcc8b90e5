"""Totals over the cap, remembered so that they need not be counted with every search.

What was found once is still over the cap as long as fewer posts were lost since than it was found
above. The database counts the losses, in the transaction that loses the posts, and each search
reads them in the snapshot in which it reads its posts: whoever sees a post gone sees its loss.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from service.posts import search
from service.posts.search import SearchPlan

_ROOM: Final = 1_000
# So many new posts may lie before those whose share of matches chose the way.
_GAINS: Final = 10_000


@dataclass(frozen=True, slots=True)
class PostCounters:
    """How the posts stood in one snapshot."""

    posts: int
    losses: int
    # Whom the author's name meant: it may become another's.
    author_id: UUID | None


@dataclass(frozen=True, slots=True)
class ProvenTotal:
    """So many matches were found, in such a plan, when the posts stood so."""

    found: int
    plan: SearchPlan
    then: PostCounters

    def holds(self, now: PostCounters) -> bool:
        """Whether more than TOTAL_CAP posts match now, and the plan is still a good one."""
        lost = now.losses - self.then.losses
        gained = now.posts - self.then.posts + lost
        return (
            now.author_id == self.then.author_id
            # Less than nothing: the database is not the one that was asked then. (Not told by this:
            # a standby that took over, and lost more since than what never reached it.)
            and 0 <= lost < self.found - search.TOTAL_CAP
            and 0 <= gained <= _GAINS
        )


class TotalsCache:
    """The proofs of the searches that were last asked for, by one process."""

    def __init__(self, room: int = _ROOM) -> None:
        self._room = room
        self._totals: OrderedDict[Hashable, ProvenTotal] = OrderedDict()

    def __len__(self) -> int:
        return len(self._totals)

    def find(self, filters: Hashable) -> ProvenTotal | None:
        """Find what was proven last; it may no longer hold."""
        if filters in self._totals:
            self._totals.move_to_end(filters)
        return self._totals.get(filters)

    def keep(self, filters: Hashable, proven: ProvenTotal) -> None:
        """Remember a proof in place of the last one, or none when it proves nothing."""
        self._totals.pop(filters, None)
        if proven.found > search.TOTAL_CAP:
            self._totals[filters] = proven
        if len(self._totals) > self._room:
            self._totals.popitem(last=False)
