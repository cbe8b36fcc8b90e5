"""Posts by words, in bounded time however common the words are.

No single plan is good for all words: reading the newest posts and keeping those that match is
quick for common words and endless for rare ones; the index of words is the other way round.
PostgreSQL's own guess rests on statistics that know only the most common words. So the newest
posts are probed first, and the share of them that match chooses the way.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.posts.models import Post
from service.web.pagination import newest_first

TOTAL_CAP: Final = 10_000
_PROBED: Final = 1_000
# A post in a hundred: a page of 20 is found among the newest 2,000.
_COMMON: Final = _PROBED // 100
# Every other post: the count reaches its cap among 20,000.
_UBIQUITOUS: Final = _PROBED // 2

AnySelect = Select[*tuple[Any, ...]]

VISIBLE: Final = Post.deleted_at.is_(None)
NEWEST_FIRST: Final = newest_first(Post)


async def probe(session: AsyncSession, words: str, *conditions: ColumnElement[bool]) -> int:
    """Count the matches among the newest posts that meet the conditions."""
    newest = (
        select(Post.search)
        .where(VISIBLE, *conditions)
        .order_by(*NEWEST_FIRST)
        .limit(_PROBED)
        .subquery("newest")
    )
    matching = func.ts_match_vq(newest.c.search, func.post_query(words))
    statement = select(func.count()).select_from(newest).where(matching)
    return (await session.execute(statement)).scalar_one()


def ids(words: str, hits: int, *conditions: ColumnElement[bool]) -> AnySelect:
    """Select the ids of the matching posts, newest first, in the way that suits the probe."""
    if hits >= _COMMON:
        matching = select(Post.id).where(VISIBLE, *conditions, _reading(words))
        return matching.order_by(*NEWEST_FIRST)
    matches = _matches(words, *conditions).cte("matches").prefix_with("MATERIALIZED")
    return select(matches.c.id).order_by(matches.c.created_at.desc(), matches.c.id.desc())


def total(words: str, hits: int, *conditions: ColumnElement[bool]) -> ColumnElement[int]:
    """How many posts match, counted up to TOTAL_CAP + 1."""
    if hits >= _UBIQUITOUS:
        matching = select(Post.id).where(VISIBLE, *conditions, _reading(words))
    else:
        matching = _matches(words, *conditions)
    some = matching.limit(TOTAL_CAP + 1).subquery("some")
    return select(func.count()).select_from(some).scalar_subquery()


def _matches(words: str, *conditions: ColumnElement[bool]) -> AnySelect:
    indexed = Post.search.bool_op("@@")(func.post_query(words))
    statement: AnySelect = select(Post.id, Post.created_at)
    return statement.where(VISIBLE, *conditions, indexed)


def _reading(words: str) -> ColumnElement[bool]:
    # The operator's function: the same test, which no index can serve.
    return func.ts_match_vq(Post.search, func.post_query(words))
