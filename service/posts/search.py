"""Full-text search of posts, in bounded time for common and rare words.

No single plan is good for all words: filtering the newest posts is quick for common words and
endless for rare ones, and the index of words is the reverse. PostgreSQL cannot choose, because its
statistics have only the most common words. So the newest posts are probed first, and the share of
them that match chooses the plan.
"""

from enum import Enum, auto
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    CTE,
    BindParameter,
    ColumnElement,
    Select,
    String,
    bindparam,
    case,
    func,
    select,
)

from service.posts.models import Post
from service.web.pagination import newest_first

TOTAL_CAP: Final = 10_000
_PROBED: Final = 1_000
# One post in a hundred, so that a page of 20 is found among the newest 2,000.
_COMMON: Final = _PROBED // 100
# Every other post, so that the count reaches its cap among 20,000.
_UBIQUITOUS: Final = _PROBED // 2
# Posts read for each match to be counted.
_READABLE: Final = 2

AnySelect = Select[*tuple[Any, ...]]
Conditions = tuple[ColumnElement[bool], ...]

_posts: Final = Post.__table__.c
_query: Final = func.post_query(bindparam("words", type_=String))
# In a subselect, so that the words are parsed once and not for every post, which costs more than
# matching it. The index parses them once anyway.
_parsed: Final = select(_query).scalar_subquery()
# The function of the operator @@, for which PostgreSQL uses no index.
_matches_unindexed: Final = func.ts_match_vq(_posts.search, _parsed)


class SearchPlan(Enum):
    """How matching posts are found and counted."""

    RARE = auto()  # found and counted by the index of words
    COMMON = auto()  # found among the newest posts, counted by the index
    UBIQUITOUS = auto()  # found and counted among the newest posts, if these are enough


def choose_plan(hits: int) -> SearchPlan:
    """Return the plan for a number of matches among the newest posts."""
    if hits >= _UBIQUITOUS:
        return SearchPlan.UBIQUITOUS
    return SearchPlan.COMMON if hits >= _COMMON else SearchPlan.RARE


def probe(conditions: Conditions) -> AnySelect:
    """Return the query of the number of matches among the newest posts."""
    statement: AnySelect = select(func.count().label("hits"))
    return statement.select_from(_matches_among_newest(conditions, _PROBED).subquery("matching"))


def ids(plan: SearchPlan, conditions: Conditions) -> AnySelect:
    """Return the query of the ids of the matching posts, newest first."""
    if plan is not SearchPlan.RARE:
        newest: AnySelect = select(_posts.id)
        return newest.where(*conditions, _matches_unindexed).order_by(*newest_first(_posts))
    matches = _all_matches(conditions)
    return select(matches.c.id).order_by(matches.c.created_at.desc(), matches.c.id.desc())


def total(plan: SearchPlan, conditions: Conditions) -> ColumnElement[int]:
    """Return the number of matching posts as SQL, counted up to the parameter `countable`."""
    if plan is SearchPlan.RARE:
        return _count(select(_all_matches(conditions).c.id)).scalar_subquery()
    by_index = _count(_matches(conditions)).scalar_subquery()
    if plan is SearchPlan.COMMON:
        return by_index
    # When the newest posts have enough matches, PostgreSQL does not run the count by the index.
    read = _count(_matches_among_newest(conditions, bindparam("readable"))).subquery("read")
    enough = read.c.found > bindparam("cap")
    return select(case((enough, read.c.found), else_=by_index)).scalar_subquery()


def counting() -> dict[str, object]:
    """Return the parameters of `total`, which counts more than TOTAL_CAP, as some may be lost."""
    countable = TOTAL_CAP + TOTAL_CAP // 4 + 1
    return {"cap": TOTAL_CAP, "countable": countable, "readable": _READABLE * countable}


def _count(matching: AnySelect) -> Select[int]:
    some = matching.limit(bindparam("countable")).subquery("some")
    return select(func.count().label("found")).select_from(some)


def _matches_among_newest(conditions: Conditions, limit: int | BindParameter[int]) -> AnySelect:
    newest = (
        select(_posts.id, _posts.search)
        .where(*conditions)
        .order_by(*newest_first(_posts))
        .limit(limit)
        .subquery("newest")
    )
    matching: AnySelect = select(newest.c.id)
    return matching.where(func.ts_match_vq(newest.c.search, _parsed))


def _matches(conditions: Conditions) -> AnySelect:
    statement: AnySelect = select(_posts.id, _posts.created_at)
    return statement.where(*conditions, _posts.search.bool_op("@@")(_query))


@cache
def _all_matches(conditions: Conditions) -> CTE:
    # One CTE for both the page and the total; without a name, for a statement may have several.
    return _matches(conditions).cte().prefix_with("MATERIALIZED")
