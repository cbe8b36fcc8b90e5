"""Posts by words, in bounded time however common the words are.

No single plan is good for all words: reading the newest posts and keeping those that match is
quick for common words and endless for rare ones; the index of words is the other way round.
PostgreSQL's own guess rests on statistics that know only the most common words. So the newest
posts are probed first, and the share of them that match chooses the way.
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
# A post in a hundred: a page of 20 is found among the newest 2,000.
_COMMON: Final = _PROBED // 100
# Every other post: the count reaches its cap among 20,000.
_UBIQUITOUS: Final = _PROBED // 2
# So many posts are read for each match that is to be counted.
_READABLE: Final = 2

AnySelect = Select[*tuple[Any, ...]]
Conditions = tuple[ColumnElement[bool], ...]

VISIBLE: Final = Post.deleted_at.is_(None)
_posts: Final = Post.__table__.c
_query: Final = func.post_query(bindparam("words", type_=String))
# By itself, so that it is parsed once and not for every post that is read: parsing costs more
# than matching. The index asks for the query once anyway.
_parsed: Final = select(_query).scalar_subquery()
# The operator's function: the same test, which no index can serve.
_reading: Final = func.ts_match_vq(_posts.search, _parsed)


class SearchPlan(Enum):
    """How matching posts are found and counted."""

    RARE = auto()  # both by the index of words
    COMMON = auto()  # found among the newest, counted by the index
    UBIQUITOUS = auto()  # both among the newest, as long as these are enough


def choose_plan(hits: int) -> SearchPlan:
    """Choose by how many of the newest posts match."""
    if hits >= _UBIQUITOUS:
        return SearchPlan.UBIQUITOUS
    return SearchPlan.COMMON if hits >= _COMMON else SearchPlan.RARE


@cache
def probe(conditions: Conditions) -> AnySelect:
    """Count the matches among the newest posts that meet the conditions."""
    statement: AnySelect = select(func.count())
    return statement.select_from(_matches_among_newest(conditions, _PROBED).subquery("matching"))


def ids(plan: SearchPlan, conditions: Conditions) -> AnySelect:
    """Select the ids of the matching posts, newest first."""
    if plan is not SearchPlan.RARE:
        reading: AnySelect = select(_posts.id)
        return reading.where(*conditions, _reading).order_by(*newest_first(_posts))
    matches = _all_matches(conditions)
    return select(matches.c.id).order_by(matches.c.created_at.desc(), matches.c.id.desc())


def total(plan: SearchPlan, conditions: Conditions) -> ColumnElement[int]:
    """How many posts match, counted up to the parameter `countable`; `cap` is TOTAL_CAP."""
    if plan is SearchPlan.RARE:
        return _count(select(_all_matches(conditions).c.id)).scalar_subquery()
    by_index = _count(_matches(conditions)).scalar_subquery()
    if plan is SearchPlan.COMMON:
        return by_index
    # The newest are at hand. What they have may be new to the others: then these are not read.
    read = _count(_matches_among_newest(conditions, bindparam("readable"))).subquery("read")
    enough = read.c.found > bindparam("cap")
    return select(case((enough, read.c.found), else_=by_index)).scalar_subquery()


def counting() -> dict[str, object]:
    """The parameters of `total`: some more matches than TOTAL_CAP, that may be lost later on."""
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
    # One for the page and for the total.
    return _matches(conditions).cte("matches").prefix_with("MATERIALIZED")
