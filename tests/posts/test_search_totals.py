"""How long a proven total holds, and how many are kept."""

from time import monotonic
from uuid import UUID

import pytest

from service.posts.search import TOTAL_CAP, SearchPlan
from service.posts.search_totals import NEWER_FOR, PostCounters, ProvenTotal, TotalsCache

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
        (19, 5, 1, True),  # a standby, one post behind
        (20, 4, 1, True),  # one change behind
        (21, 4, 1, True),  # one deletion behind
        (18, 5, 1, True),
        (17, 5, 1, False),  # three may be missing of those that matched
        (20, 2, 1, False),  # so far behind that the plan may be another
        (22, 4, 1, False),  # no database has more posts and forgets a loss
        (18, 6, 1, False),  # nor loses posts without as many losses
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


BEHIND = PostCounters(posts=19, losses=5, author_id=None)
NOW = PostCounters(posts=20, losses=5, author_id=None)


def total_at(counters: PostCounters, found: int = ENOUGH) -> ProvenTotal:
    return ProvenTotal(found, SearchPlan.RARE, counters)


@pytest.mark.parametrize("found", [TOTAL_CAP, ENOUGH + 1])
def test_total_of_a_standby_behind_does_not_replace_a_newer_one(found: int) -> None:
    totals = TotalsCache()
    newer = total_at(NOW)
    totals.keep("a", newer)
    totals.keep("a", total_at(BEHIND, found))
    assert totals.find("a") is newer


def test_newer_total_replaces_one_of_a_standby_behind() -> None:
    totals = TotalsCache()
    totals.keep("a", total_at(BEHIND))
    newer = total_at(NOW)
    totals.keep("a", newer)
    assert totals.find("a") is newer


def test_total_of_a_database_that_stays_behind_replaces_the_last_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    totals = TotalsCache()
    totals.keep("a", total_at(NOW))
    later = monotonic() + NEWER_FOR
    monkeypatch.setattr("service.posts.search_totals.monotonic", lambda: later)
    restored = total_at(BEHIND)
    totals.keep("a", restored)
    assert totals.find("a") is restored
