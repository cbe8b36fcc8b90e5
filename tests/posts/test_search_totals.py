"""How long a proven total holds, and how many are kept."""

from uuid import UUID

import pytest

from service.posts.search import TOTAL_CAP, SearchPlan
from service.posts.search_totals import PostCounters, ProvenTotal, TotalsCache

# How many matches were counted: three may be lost.
ENOUGH = TOTAL_CAP + 3


def test_cache_keeps_the_last_totals() -> None:
    totals = TotalsCache(size=3)
    proven = ProvenTotal(
        ENOUGH, SearchPlan.RARE, PostCounters(posts=ENOUGH, losses=0, author_id=None)
    )
    for words in "abc":
        totals.keep(words, proven)
    assert totals.find("a") is proven
    totals.keep("b", proven)
    for words in "de":
        totals.keep(words, proven)
    assert [words for words in "abcde" if totals.find(words)] == ["b", "d", "e"]
    assert len(totals) == 3


@pytest.mark.parametrize(
    ("posts", "losses", "author_id", "holds"),
    [
        (20, 5, 1, True),
        (18, 7, 1, True),
        (17, 8, 1, False),  # three may be lost of those that matched
        (20, 4, 1, False),  # no database forgets a loss
        (19, 5, 1, False),  # nor a post without a loss
        (20, 5, 2, False),
        (10_020, 5, 1, True),
        (10_021, 5, 1, False),
    ],
)
def test_proven_total_holds_until_too_many_losses(
    posts: int, losses: int, author_id: int, holds: bool
) -> None:
    proven = ProvenTotal(
        ENOUGH, SearchPlan.RARE, PostCounters(posts=20, losses=5, author_id=UUID(int=1))
    )
    assert proven.holds(PostCounters(posts, losses, UUID(int=author_id))) is holds
