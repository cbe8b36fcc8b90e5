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
    literal,
    select,
    true,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncSession

from service.accounts.models import User
from service.database import AnyRow
from service.posts.models import AuthorPostCount, Post, PostCount
from service.web.pagination import Position, Slice

TOTAL_CAP: Final = 10_000

SHOWN: Final = (
    Post.id,
    Post.title,
    Post.content,
    Post.version,
    Post.created_at,
    Post.updated_at,
)
_NEWEST_FIRST: Final = (Post.created_at.desc(), Post.id.desc())
VISIBLE: Final = Post.deleted_at.is_(None)

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
    """Read a page of posts, newest first, and how many posts there are in all."""
    ids = _ids(filters, limit + 1).offset(offset)
    total = select(_total(filters).label("total")).subquery("counted")
    page = _shown(ids)
    statement = (
        select(total.c.total, page)
        .select_from(total.outerjoin(page, true()))
        .order_by(page.c.created_at.desc(), page.c.id.desc())
    )
    rows = (await session.execute(statement)).all()
    # The total is there even when the page is empty: then the one row has no post.
    return Slice.cut([row for row in rows if row.id is not None], limit), int(rows[0].total)


async def read_on(session: AsyncSession, filters: Filters, *, limit: int, after: Position) -> Slice:
    """Read the posts that follow a position."""
    place = tuple_(literal(after.created_at), literal(after.id))
    ids = _ids(filters, limit + 1).where(tuple_(Post.created_at, Post.id) < place)
    page = _shown(ids)
    statement = select(page).order_by(page.c.created_at.desc(), page.c.id.desc())
    return Slice.cut(list((await session.execute(statement)).all()), limit)


def _ids(filters: Filters, limit: int) -> Select[Any]:
    return select(Post.id).where(*_conditions(filters)).order_by(*_NEWEST_FIRST).limit(limit)


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
    conditions: list[ColumnElement[bool]] = [VISIBLE]
    if filters.author is not None:
        conditions.append(Post.author_id == _author_id(filters.author))
    if filters.words is not None:
        conditions.append(Post.search.bool_op("@@")(func.post_query(filters.words)))
    return conditions


def _author_id(username: str) -> Any:
    found = select(User.id).where(func.lower(User.username) == username.lower())
    return found.where(User.deleted_at.is_(None)).scalar_subquery()


def _total(filters: Filters) -> ColumnElement[int]:
    """How many posts there are: exact, but for words only up to TOTAL_CAP + 1."""
    if filters.words is not None:
        some = select(Post.id).where(*_conditions(filters)).limit(TOTAL_CAP + 1).subquery("some")
        return select(func.count()).select_from(some).scalar_subquery()
    if filters.author is not None:
        counted = select(func.sum(AuthorPostCount.posts)).where(
            AuthorPostCount.author_id == _author_id(filters.author)
        )
    else:
        counted = select(func.sum(PostCount.posts))
    return cast(func.coalesce(counted.scalar_subquery(), 0), BigInteger)
