"""The queries of posts in every state, for operators.

Visible posts, those that operators removed and those that their authors deleted have indexes of
their own, so a list of all merges the newest of each. Posts of an account that was deleted just now
are in no list until a job has hidden each (hidden_authors.py).
"""

from collections.abc import Sequence
from enum import StrEnum
from functools import cache, lru_cache
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, case, func, literal_column, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from service.db.base import AnyRow
from service.db.query import CompiledQuery, KeyedQuery
from service.db.read_session import fetch_all, fetch_by_key
from service.posts import search
from service.posts.models import HiddenAuthor, Post
from service.posts.queries import KEPT, SHOWN, VISIBLE, Filters, author_id, author_name
from service.posts.search import AnySelect, Conditions, SearchPlan
from service.web.pagination import Position, Slice, follows, newest_first


class PostState(StrEnum):
    """Whether a post is shown, was removed by an operator, or deleted by or with its author."""

    VISIBLE = "visible"
    REMOVED = "removed"
    DELETED = "deleted"


_posts: Final = Post.__table__.c
_hidden: Final = HiddenAuthor.__table__.c
_OF_STATE: Final = {
    PostState.VISIBLE: (VISIBLE,),
    PostState.REMOVED: (~KEPT, _posts.deleted_by_operator),
    PostState.DELETED: (~KEPT, ~_posts.deleted_by_operator),
}
_hidden_at: Final = (
    select(_hidden.hidden_at).where(_hidden.author_id == _posts.author_id).scalar_subquery()
)
_deleted_at: Final = func.coalesce(_posts.deleted_at, _hidden_at)


def _literal(state: PostState) -> ColumnElement[str]:
    return literal_column(f"'{state.value}'")


_state: Final = case(
    (_deleted_at.is_(None), _literal(PostState.VISIBLE)),
    (~KEPT & _posts.deleted_by_operator, _literal(PostState.REMOVED)),
    else_=_literal(PostState.DELETED),
)
_COLUMNS: Final = (
    *SHOWN,
    author_name(_posts.author_id),
    _state.label("state"),
    _deleted_at.label("deleted_at"),
)
_ONE: Final = KeyedQuery(select(*_COLUMNS), _posts.id)

# Statements that are kept made.
STATEMENTS_MAX: Final = 100

# Of each state whose posts are wanted, how those with the words are found; None without words.
Plans = tuple[tuple[PostState, SearchPlan | None], ...]


async def find_post_in_any_state(session: AsyncSession, post_id: UUID) -> AnyRow | None:
    """Return a post with its state, or None."""
    return await fetch_by_key(session, _ONE, post_id)


async def list_posts_in_every_state(
    session: AsyncSession,
    filters: Filters,
    state: PostState | None,
    *,
    limit: int,
    after: Position | None,
) -> Slice:
    """Return posts in a state or in any, newest first; an author's name is of a live account."""
    values = {**filters.values, **(after.values if after else {})}
    plans = tuple(
        [
            (one, await _choose_plan(session, one, filters, after, values))
            for one in ([state] if state else PostState)
        ]
    )
    query = _list(plans, limit + 1, filters.author is not None, after is not None)
    return Slice.cut(await fetch_all(session, query, values), limit)


async def _choose_plan(
    session: AsyncSession,
    state: PostState,
    filters: Filters,
    after: Position | None,
    values: dict[str, object],
) -> SearchPlan | None:
    if filters.words is None:
        return None
    probe = _probe(state, filters.author is not None, after is not None)
    (row,) = await fetch_all(session, probe, values)
    return search.choose_plan(row.hits)


@cache
def _probe(state: PostState, by_author: bool, after: bool) -> CompiledQuery:
    return CompiledQuery(search.probe(_conditions(state, by_author, after)))


# There are thousands, because a client chooses the limit, at 50 KB each.
@lru_cache(STATEMENTS_MAX)
def _list(plans: Plans, limit: int, by_author: bool, after: bool) -> CompiledQuery:
    # In the statement, because the planner takes an unknown LIMIT for a tenth of the table.
    most: ColumnElement[int] = literal_column(str(limit))
    found = [
        select(_ids(plan, _conditions(state, by_author, after)).limit(most).subquery())
        for state, plan in plans
    ]
    chosen = union_all(*found).subquery("chosen")
    posts = select(*_COLUMNS).join_from(chosen, Post.__table__, _posts.id == chosen.c.id)
    return CompiledQuery(posts.order_by(*newest_first(_posts)).limit(most))


def _ids(plan: SearchPlan | None, conditions: Conditions) -> AnySelect:
    if plan is not None:
        return search.ids(plan, conditions)
    newest: AnySelect = select(_posts.id)
    return newest.where(*conditions).order_by(*newest_first(_posts))


@cache
def _conditions(state: PostState, by_author: bool, after: bool) -> Conditions:
    conditions: Sequence[ColumnElement[bool]] = _OF_STATE[state]
    if by_author:
        conditions = [*conditions, _posts.author_id == author_id()]
    return (*conditions, follows(_posts)) if after else tuple(conditions)
