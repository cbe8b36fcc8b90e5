"""How posts are read: the columns that are shown, the author joined in, one statement each."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Subquery,
    cast,
    func,
    select,
    true,
)
from sqlalchemy.ext.asyncio import AsyncSession

from service.accounts.models import User
from service.database import AnyRow
from service.posts import search
from service.posts.models import AuthorPostCount, Post, PostCount
from service.posts.search import NEWEST_FIRST, VISIBLE
from service.web.pagination import Position, Slice, follows

SHOWN: Final = (
    Post.id,
    Post.title,
    Post.content,
    Post.version,
    Post.created_at,
    Post.updated_at,
)

_one_post: Final = (
    select(*SHOWN, User.username.label("author"), Post.author_id)
    .join(User, User.id == Post.author_id)
    .where(VISIBLE)
)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which posts are listed; None does not ask."""

    author: str | None = None
    words: str | None = None


async def find_post(session: AsyncSession, post_id: UUID) -> AnyRow | None:
    """Read one visible post with its author."""
    return (await session.execute(_one_post.where(Post.id == post_id))).one_or_none()


async def read_page(
    session: AsyncSession, filters: Filters, *, limit: int, offset: int
) -> tuple[Slice, int]:
    """Read a page of posts, newest first, and how many posts there are in all.

    For words the number stops at TOTAL_CAP + 1.
    """
    conditions = _conditions(filters)
    if filters.words is None:
        ids, total = _all(*conditions), _total(filters)
    else:
        hits = await search.probe(session, filters.words, *conditions)
        ids = search.ids(filters.words, hits, *conditions)
        total = search.total(filters.words, hits, *conditions)
    counted = select(total.label("total")).subquery("counted")
    page = _shown(ids.limit(limit + 1).offset(offset))
    statement = (
        select(counted.c.total, page)
        .select_from(counted.outerjoin(page, true()))
        .order_by(page.c.created_at.desc(), page.c.id.desc())
    )
    rows = (await session.execute(statement)).all()
    # The total is there even when the page is empty: then the one row has no post.
    return Slice.cut([row for row in rows if row.id is not None], limit), int(rows[0].total)


async def read_on(session: AsyncSession, filters: Filters, *, limit: int, after: Position) -> Slice:
    """Read the posts that follow a position."""
    conditions = [*_conditions(filters), follows(Post, after)]
    if filters.words is None:
        ids = _all(*conditions)
    else:
        hits = await search.probe(session, filters.words, *conditions)
        ids = search.ids(filters.words, hits, *conditions)
    page = _shown(ids.limit(limit + 1))
    statement = select(page).order_by(page.c.created_at.desc(), page.c.id.desc())
    return Slice.cut(list((await session.execute(statement)).all()), limit)


def _all(*conditions: ColumnElement[bool]) -> Select[Any]:
    return select(Post.id).where(VISIBLE, *conditions).order_by(*NEWEST_FIRST)


def _shown(ids: Select[Any]) -> Subquery:
    # Ids first, from the index alone; the rows are fetched only for what is shown.
    chosen = ids.subquery("chosen")
    return (
        select(*SHOWN, User.username.label("author"))
        .select_from(chosen)
        .join(Post, Post.id == chosen.c.id)
        .join(User, User.id == Post.author_id)
        .subquery("page")
    )


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    return [] if filters.author is None else [Post.author_id == _author_id(filters.author)]


def _author_id(username: str) -> Any:
    found = select(User.id).where(func.lower(User.username) == username.lower())
    return found.where(User.deleted_at.is_(None)).scalar_subquery()


def _total(filters: Filters) -> ColumnElement[int]:
    if filters.author is None:
        counted = select(func.sum(PostCount.posts))
    else:
        counted = select(func.sum(AuthorPostCount.posts)).where(
            AuthorPostCount.author_id == _author_id(filters.author)
        )
    return cast(func.coalesce(counted.scalar_subquery(), 0), BigInteger)
