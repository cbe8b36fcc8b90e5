"""The queries of posts, each one statement with the columns that are shown and the author.

A statement is made once for each kind of query, from tables rather than entities, because making
one for every request, and executing it by the ORM, costs more than running it. So does planning it:
PostgreSQL keeps the plan of a prepared statement only if a plan for the current values does not
look better, and the statements without words are written so that it never does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Label,
    ScalarSelect,
    and_,
    bindparam,
    cast,
    func,
    literal_column,
    null,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession

from service.auth.models import User
from service.canonical import username_key
from service.db.autocommit import Autocommit
from service.db.base import AnyRow, Id, UtcDateTime
from service.db.query import CompiledQuery, KeyedQuery
from service.db.read_session import fetch_all, fetch_by_key, fetch_shared
from service.posts import search
from service.posts.models import AuthorPostCount, HiddenAuthor, Post, PostCount
from service.posts.rows import OwnedPostRow
from service.posts.schemas import PostOut
from service.posts.search import AnySelect, SearchPlan
from service.posts.search_totals import PostCounters, ProvenTotal, TotalsCache
from service.web.pagination import Position, Slice, follows, newest_first

_posts: Final = Post.__table__.c
_users: Final = User.__table__.c

SHOWN: Final = tuple(_posts[name] for name in PostOut.model_fields if name != "author")
KEPT: Final = _posts.deleted_at.is_(None)
# A set of few accounts, mostly of none, that PostgreSQL reads once and not for each post.
_hidden: Final = HiddenAuthor.__table__.c
_by_shown_author: Final = _posts.author_id.not_in(select(_hidden.author_id))
VISIBLE: Final = and_(KEPT, _by_shown_author)


def author_name(author_id: UUID | ColumnElement[UUID]) -> Label[str]:
    """Return the username of an account as the column `author`."""
    return select(_users.username).where(_users.id == author_id).scalar_subquery().label("author")


# The posts of hidden authors that are still counted: exact, as each batch takes its own off both.
_counts_of_author: Final = AuthorPostCount.__table__.c
_counted_posts: Final = (
    select(func.sum(_counts_of_author.posts))
    .where(_counts_of_author.author_id == _hidden.author_id)
    .correlate(HiddenAuthor)
    .scalar_subquery()
)
_hidden_posts: Final = (
    select(func.coalesce(func.sum(_counted_posts), 0)).select_from(HiddenAuthor).scalar_subquery()
)

_author: Final = author_name(_posts.author_id)
_position: Final = tuple_(_posts.created_at, _posts.id)
_one_post: Final = KeyedQuery(select(*SHOWN, _author, _posts.author_id).where(VISIBLE), _posts.id)


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of a list of posts, of which None is any."""

    author: str | None = None
    words: str | None = None

    @property
    def values(self) -> dict[str, object]:
        """The parameters of the statements."""
        author = None if self.author is None else username_key(self.author)
        values = {"author": author, "words": self.words}
        return {name: value for name, value in values.items() if value is not None}


async def find_post(session: AsyncSession | Autocommit, post_id: UUID) -> OwnedPostRow | None:
    """Return a visible post with its author, or None."""
    return await fetch_by_key(session, _one_post, post_id)


async def read_page(
    session: AsyncSession, filters: Filters, totals: TotalsCache, *, limit: int, offset: int
) -> tuple[Slice, int]:
    """Return a page, newest first, and the total of all pages, for words TOTAL_CAP + 1 at most."""
    values = {**filters.values, "offset": offset}
    if filters.words is None:
        query = _page(filters.author is not None, limit + 1, first=offset == 0)
        return await fetch_shared(session, query, values, _counted_slice(limit))
    rows, total = await _search(session, filters, totals, {**values, "limit": limit + 1})
    return _cut_page(rows, limit), total


@cache
def _counted_slice(limit: int) -> Callable[[Sequence[AnyRow]], tuple[Slice, int]]:
    return lambda rows: (_cut_page(rows, limit), rows[0].total)


def _cut_page(rows: Sequence[AnyRow], limit: int) -> Slice:
    # An empty page still has one row, with the total and without a post.
    return Slice.cut([row for row in rows if row.id is not None], limit)


async def _search(
    session: AsyncSession, filters: Filters, totals: TotalsCache, values: Mapping[str, object]
) -> tuple[Sequence[AnyRow], int]:
    by_author = filters.author is not None
    proven = totals.find(filters)
    if proven is not None:
        rows = await fetch_all(session, _search_page(by_author, proven.plan), values)
        if proven.holds(_counters_of(rows[0])):
            return rows, search.TOTAL_CAP + 1
    plan = await _choose_plan(session, filters, values, after=False)
    counting = {**values, **search.counting()}
    rows = await fetch_all(session, _search_page_with_total(by_author, plan), counting)
    totals.keep(filters, ProvenTotal(rows[0].total, plan, _counters_of(rows[0])))
    return rows, min(rows[0].total, search.TOTAL_CAP + 1)


def _counters_of(row: AnyRow) -> PostCounters:
    return PostCounters(row.all_posts, row.losses, row.author_id)


async def read_after(
    session: AsyncSession, filters: Filters, *, limit: int, after: Position
) -> Slice:
    """Return the posts after a position, newest first."""
    by_author = filters.author is not None
    values = {**filters.values, **after.values}
    if filters.words is None:
        return await fetch_shared(session, _following(by_author, limit + 1), values, _slice(limit))
    plan = await _choose_plan(session, filters, values, after=True)
    query = _search_after(by_author, plan)
    rows = await fetch_all(session, query, {**values, "limit": limit + 1})
    return Slice.cut(rows, limit)


@cache
def _slice(limit: int) -> Callable[[Sequence[AnyRow]], Slice]:
    return lambda rows: Slice.cut(rows, limit)


async def _choose_plan(
    session: AsyncSession, filters: Filters, values: Mapping[str, object], *, after: bool
) -> SearchPlan:
    probe = _search_probe(filters.author is not None, after)
    (row,) = await fetch_all(session, probe, values)
    return search.choose_plan(row.hits)


@cache
def _search_probe(by_author: bool, after: bool) -> CompiledQuery:
    return CompiledQuery(search.probe(_conditions(by_author, after)))


@cache
def _page(by_author: bool, limit: int, *, first: bool) -> CompiledQuery:
    conditions = _conditions(by_author, after=False)
    start = () if first else (_position <= _row_at_offset(by_author),)
    return _page_with_counters(
        select(_total(by_author).label("total")), _newest(limit, *conditions, *start)
    )


@cache
def _following(by_author: bool, limit: int) -> CompiledQuery:
    after = _opaque_to_planner(bindparam("at", type_=UtcDateTime), bindparam("after_id", type_=Id))
    return CompiledQuery(_newest(limit, *_conditions(by_author, after=False), _position < after))


@cache
def _search_page(by_author: bool, plan: SearchPlan) -> CompiledQuery:
    return _page_with_counters(_counters(by_author), _matching(by_author, plan))


@cache
def _search_page_with_total(by_author: bool, plan: SearchPlan) -> CompiledQuery:
    total = search.total(plan, _conditions(by_author, after=False))
    counters = _counters(by_author).add_columns(total.label("total"))
    return _page_with_counters(counters, _matching(by_author, plan))


@cache
def _search_after(by_author: bool, plan: SearchPlan) -> CompiledQuery:
    ids = search.ids(plan, _conditions(by_author, after=True))
    return CompiledQuery(_chosen(ids).order_by(*newest_first(_posts)))


def _matching(by_author: bool, plan: SearchPlan) -> AnySelect:
    ids = search.ids(plan, _conditions(by_author, after=False))
    return _chosen(ids.offset(bindparam("offset")))


def _page_with_counters(counters: AnySelect, posts: AnySelect) -> CompiledQuery:
    # In one statement, so that both are of the same snapshot.
    counted, page = counters.subquery("counted"), posts.subquery("page")
    statement: AnySelect = select(counted, page)
    statement = statement.select_from(counted.outerjoin(page, true()))
    return CompiledQuery(statement.order_by(page.c.created_at.desc(), page.c.id.desc()))


def _counters(by_author: bool) -> AnySelect:
    """Return the query of the columns of a PostCounters."""
    counts = PostCount.__table__.c
    return select(
        cast(func.sum(counts.posts) - _hidden_posts, BigInteger).label("all_posts"),
        cast(func.sum(counts.losses) + _hidden_posts, BigInteger).label("losses"),
        (author_id() if by_author else null()).label("author_id"),
    )


@cache
def _conditions(by_author: bool, after: bool) -> tuple[ColumnElement[bool], ...]:
    # A name leads to no deleted account.
    conditions = [KEPT, _posts.author_id == author_id()] if by_author else [VISIBLE]
    if after:
        conditions.append(follows(_posts))
    return tuple(conditions)


def _newest(limit: int, *conditions: ColumnElement[bool]) -> AnySelect:
    statement: AnySelect = select(*SHOWN, _author)
    # Written into the statement, because the planner takes an unknown LIMIT for a tenth of the
    # table.
    rows: ColumnElement[int] = literal_column(str(limit))
    return statement.where(*conditions).order_by(*newest_first(_posts)).limit(rows)


def _row_at_offset(by_author: bool) -> ScalarSelect[Any]:
    """Return the position of the post after `offset` others."""
    if by_author:
        return _at_offset(*_conditions(by_author, after=False)).scalar_subquery()
    # While no author is hidden, read from the index alone. PostgreSQL runs one of the two.
    some_hidden = select(_hidden.author_id).exists().select().scalar_subquery()
    indexed = select(_at_offset(KEPT).subquery()).where(~some_hidden)
    filtered = select(_at_offset(VISIBLE).subquery()).where(some_hidden)
    return select(union_all(indexed, filtered).subquery()).scalar_subquery()


def _at_offset(*conditions: ColumnElement[bool]) -> AnySelect:
    # The index's columns in their order, so that skipped rows need not be decoded.
    positions: AnySelect = select(_posts.created_at, _posts.id).where(*conditions)
    offset = _opaque_to_planner(bindparam("offset", type_=BigInteger))
    return positions.order_by(*newest_first(_posts)).limit(literal_column("1")).offset(offset)


def _opaque_to_planner(*values: BindParameter[Any]) -> ScalarSelect[Any]:
    """Return values that the planner does not see, so that it keeps one plan for all of them."""
    return select(*values).scalar_subquery()


def _chosen(ids: AnySelect) -> AnySelect:
    # Ids first, so that only the rows of the page are fetched.
    chosen = ids.limit(bindparam("limit")).subquery("chosen")
    statement: AnySelect = select(*SHOWN, _author)
    return statement.join_from(chosen, Post.__table__, _posts.id == chosen.c.id)


def author_id() -> ScalarSelect[UUID]:
    """Return the id of the account, not deleted, that has the parameter `author` as its name."""
    same_name = _users.username_key == bindparam("author")
    return select(_users.id).where(same_name, _users.deleted_at.is_(None)).scalar_subquery()


def _total(by_author: bool) -> ColumnElement[int]:
    counted = select(func.coalesce(func.sum(PostCount.posts), 0) - _hidden_posts)
    if by_author:
        counted = select(func.coalesce(func.sum(_counts_of_author.posts), 0))
        counted = counted.where(_counts_of_author.author_id == author_id())
    return cast(counted.scalar_subquery(), BigInteger)
