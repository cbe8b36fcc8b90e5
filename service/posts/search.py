"""Posts by words, in bounded time however common the words are.

No single plan is good for all words: reading the newest posts and keeping those that match is
quick for common words and endless for rare ones; the index of words is the other way round.
PostgreSQL's own guess rests on statistics that know only the most common words. So the newest
posts are probed first, and the share of them that match chooses the way.
"""

from enum import Enum, auto
from functools import cache
from typing import Any, Final

from sqlalchemy import CTE, ColumnElement, Select, String, bindparam, func, select

from service.posts.models import Post
from service.web.pagination import newest_first

TOTAL_CAP: Final = 10_000
_PROBED: Final = 1_000
# A post in a hundred: a page of 20 is found among the newest 2,000.
_COMMON: Final = _PROBED // 100
# Every other post: the count reaches its cap among 20,000.
_UBIQUITOUS: Final = _PROBED // 2

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


class Way(Enum):
    """How matching posts are found and counted."""

    RARE = auto()  # both by the index of words
    COMMON = auto()  # found among the newest, counted by the index
    UBIQUITOUS = auto()  # both by reading posts


def choose_way(hits: int) -> Way:
    """Choose by how many of the newest posts match."""
    if hits >= _UBIQUITOUS:
        return Way.UBIQUITOUS
    return Way.COMMON if hits >= _COMMON else Way.RARE


@cache
def probe(conditions: Conditions) -> AnySelect:
    """Count the matches among the newest posts that meet the conditions."""
    newest = (
        select(_posts.search)
        .where(*conditions)
        .order_by(*newest_first(_posts))
        .limit(_PROBED)
        .subquery("newest")
    )
    matching = func.ts_match_vq(newest.c.search, _parsed)
    statement: AnySelect = select(func.count())
    return statement.select_from(newest).where(matching)


def ids(way: Way, conditions: Conditions) -> AnySelect:
    """Select the ids of the matching posts, newest first."""
    if way is not Way.RARE:
        return _read(conditions)
    matches = _all_matches(conditions)
    return select(matches.c.id).order_by(matches.c.created_at.desc(), matches.c.id.desc())


def total(way: Way, conditions: Conditions) -> ColumnElement[int]:
    """How many posts match, counted up to the parameter `countable`."""
    if way is Way.UBIQUITOUS:
        matching = _read(conditions)  # the newest: those that are at hand
    elif way is Way.COMMON:
        matching = _matches(conditions)
    else:
        matching = select(_all_matches(conditions).c.id)
    some = matching.limit(bindparam("countable")).subquery("some")
    return select(func.count()).select_from(some).scalar_subquery()


def countable() -> int:
    """How many matches are counted: some more than TOTAL_CAP, that may be lost later on."""
    return TOTAL_CAP + TOTAL_CAP // 4 + 1


def _read(conditions: Conditions) -> AnySelect:
    matching: AnySelect = select(_posts.id)
    return matching.where(*conditions, _reading).order_by(*newest_first(_posts))


def _matches(conditions: Conditions) -> AnySelect:
    statement: AnySelect = select(_posts.id, _posts.created_at)
    return statement.where(*conditions, _posts.search.bool_op("@@")(_query))


@cache
def _all_matches(conditions: Conditions) -> CTE:
    # One for the page and for the total.
    return _matches(conditions).cte("matches").prefix_with("MATERIALIZED")
