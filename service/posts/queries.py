"""How posts are read: the columns that are shown, the author joined in, one statement each.

Statements are made once for each kind of question, from tables rather than entities: making one
for every request, and the ORM's way through it, costs more than running it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Subquery,
    bindparam,
    cast,
    func,
    null,
    select,
    true,
)
from sqlalchemy.ext.asyncio import AsyncSession

from service.accounts.models import User
from service.database import AnyRow
from service.posts import search
from service.posts.models import AuthorPostCount, Post, PostCount
from service.posts.search import AnySelect, Way
from service.posts.totals import Proof, Proofs, Standing
from service.reading import Query, fetch, fetch_one
from service.web.pagination import Position, Slice, follows, newest_first

_posts: Final = Post.__table__.c
_users: Final = User.__table__.c

SHOWN: Final = (
    _posts.id,
    _posts.title,
    _posts.content,
    _posts.version,
    _posts.created_at,
    _posts.updated_at,
)
_VISIBLE: Final = _posts.deleted_at.is_(None)

_one_post: Final = Query(
    select(*SHOWN, _users.username.label("author"), _posts.author_id)
    .join_from(Post.__table__, User.__table__, _users.id == _posts.author_id)
    .where(_VISIBLE, _posts.id == bindparam("post_id"))
)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which posts are listed; None does not ask."""

    author: str | None = None
    words: str | None = None

    @property
    def values(self) -> dict[str, object]:
        """The parameters of the statements."""
        given = {"author": self.author, "words": self.words}
        return {name: value for name, value in given.items() if value is not None}


async def find_post(session: AsyncSession, post_id: UUID) -> AnyRow | None:
    """Read one visible post with its author."""
    return await fetch_one(session, _one_post, {"post_id": post_id})


async def read_page(
    session: AsyncSession, filters: Filters, proofs: Proofs, *, limit: int, offset: int
) -> tuple[Slice, int]:
    """Read a page of posts, newest first, and how many posts there are in all.

    For words the number stops at TOTAL_CAP + 1.
    """
    values = {**filters.values, "limit": limit + 1, "offset": offset}
    if filters.words is not None:
        rows, total = await _search(session, filters, proofs, values)
    else:
        rows = await fetch(session, _page(filters.author is not None), values)
        total = int(rows[0].total)
    # The total is there even when the page is empty: then the one row has no post.
    return Slice.cut([row for row in rows if row.id is not None], limit), total


async def _search(
    session: AsyncSession, filters: Filters, proofs: Proofs, values: dict[str, Any]
) -> tuple[Sequence[Any], int]:
    by_author = filters.author is not None
    proof = proofs.find(filters)
    if proof is not None:
        rows = await fetch(session, _found(by_author, proof.way), values)
        if proof.holds(_standing(rows[0])):
            return rows, search.TOTAL_CAP + 1
    way = await _choose_way(session, filters, values, on=False)
    counting = {**values, **search.counting()}
    rows = await fetch(session, _found_and_counted(by_author, way), counting)
    proofs.keep(filters, Proof(rows[0].total, way, _standing(rows[0])))
    return rows, min(rows[0].total, search.TOTAL_CAP + 1)


def _standing(row: Any) -> Standing:
    return Standing(row.all_posts, row.losses, row.author_id)


async def read_on(session: AsyncSession, filters: Filters, *, limit: int, after: Position) -> Slice:
    """Read the posts that follow a position."""
    values = {**filters.values, "limit": limit + 1, **after.values}
    way = None
    if filters.words is not None:
        way = await _choose_way(session, filters, values, on=True)
    rows = await fetch(session, _following(filters.author is not None, way), values)
    return Slice.cut(list(rows), limit)


async def _choose_way(
    session: AsyncSession, filters: Filters, values: dict[str, Any], *, on: bool
) -> Way:
    probe = search.probe(_conditions(filters.author is not None, on))
    return search.choose_way((await session.execute(probe, values)).scalar_one())


@cache
def _page(by_author: bool) -> Query:
    ids = _all(_conditions(by_author, on=False))
    return _with_page(select(_total(by_author).label("total")), ids)


@cache
def _found(by_author: bool, way: Way) -> Query:
    return _with_page(_stand(by_author), search.ids(way, _conditions(by_author, on=False)))


@cache
def _found_and_counted(by_author: bool, way: Way) -> Query:
    conditions = _conditions(by_author, on=False)
    facts = _stand(by_author).add_columns(search.total(way, conditions).label("total"))
    return _with_page(facts, search.ids(way, conditions))


def _with_page(facts: AnySelect, ids: AnySelect) -> Query:
    # Both of one snapshot, so that they tell of the same posts.
    counted = facts.subquery("counted")
    page = _shown(ids.limit(bindparam("limit")).offset(bindparam("offset")))
    statement: AnySelect = select(counted, page)
    statement = statement.select_from(counted.outerjoin(page, true()))
    return Query(statement.order_by(page.c.created_at.desc(), page.c.id.desc()))


def _stand(by_author: bool) -> AnySelect:
    """What makes a Standing."""
    counts = PostCount.__table__.c
    return select(
        cast(func.sum(counts.posts), BigInteger).label("all_posts"),
        cast(func.sum(counts.losses), BigInteger).label("losses"),
        (_author_id() if by_author else null()).label("author_id"),
    )


@cache
def _following(by_author: bool, way: Way | None) -> Query:
    conditions = _conditions(by_author, on=True)
    ids = _all(conditions) if way is None else search.ids(way, conditions)
    page = _shown(ids.limit(bindparam("limit")))
    statement: AnySelect = select(page)
    return Query(statement.order_by(page.c.created_at.desc(), page.c.id.desc()))


@cache
def _conditions(by_author: bool, on: bool) -> tuple[ColumnElement[bool], ...]:
    conditions: list[ColumnElement[bool]] = [_VISIBLE]
    if by_author:
        conditions.append(_posts.author_id == _author_id())
    if on:
        conditions.append(follows(_posts))
    return tuple(conditions)


def _all(conditions: tuple[ColumnElement[bool], ...]) -> Select[Any]:
    return select(_posts.id).where(*conditions).order_by(*newest_first(_posts))


def _shown(ids: Select[Any]) -> Subquery:
    # Ids first, from the index alone; the rows are fetched only for what is shown.
    chosen = ids.subquery("chosen")
    return (
        select(*SHOWN, _users.username.label("author"))
        .select_from(chosen)
        .join(Post.__table__, _posts.id == chosen.c.id)
        .join(User.__table__, _users.id == _posts.author_id)
        .subquery("page")
    )


def _author_id() -> Any:
    named = func.lower(_users.username) == func.lower(bindparam("author"))
    return select(_users.id).where(named, _users.deleted_at.is_(None)).scalar_subquery()


def _total(by_author: bool) -> ColumnElement[int]:
    if by_author:
        counted = select(func.sum(AuthorPostCount.posts)).where(
            AuthorPostCount.author_id == _author_id()
        )
    else:
        counted = select(func.sum(PostCount.posts))
    return cast(func.coalesce(counted.scalar_subquery(), 0), BigInteger)
