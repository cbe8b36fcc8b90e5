"""How posts are read: the columns that are shown, the author joined in, one statement each."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, Select, cast, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from service.accounts.models import User
from service.database import AnyRow
from service.posts.models import Post, PostCount

_SHOWN: Final = (
    Post.id,
    Post.title,
    Post.content,
    Post.created_at,
    User.username.label("author"),
)
VISIBLE: Final = Post.deleted_at.is_(None)
_NEWEST_FIRST: Final = (Post.created_at.desc(), Post.id.desc())

_one_post: Final = select(*_SHOWN, Post.author_id).join(User, User.id == Post.author_id)


async def find_post(session: AsyncSession, post_id: UUID) -> AnyRow | None:
    """Read one post with its author."""
    return (await session.execute(_one_post.where(Post.id == post_id, VISIBLE))).one_or_none()


async def read_page(session: AsyncSession, *, limit: int, offset: int) -> tuple[list[AnyRow], int]:
    """Read a page of posts, newest first, and how many posts there are in all."""
    rows = (await session.execute(_page(limit, offset))).all()
    # The total is there even when the page is empty: then the one row has no post.
    return [row for row in rows if row.id is not None], int(rows[0].total)


def _page(limit: int, offset: int) -> Select[Any]:
    # Ids first, from the index alone; the rows are fetched only for what is shown.
    ids = (
        select(Post.id)
        .where(VISIBLE)
        .order_by(*_NEWEST_FIRST)
        .limit(limit)
        .offset(offset)
        .subquery("ids")
    )
    page = (
        select(*_SHOWN)
        .select_from(ids)
        .join(Post, Post.id == ids.c.id)
        .join(User, User.id == Post.author_id)
        .subquery("page")
    )
    total = select(cast(func.sum(PostCount.posts), BigInteger).label("total")).subquery("counted")
    return (
        select(total.c.total, page)
        .select_from(total.outerjoin(page, true()))
        .order_by(page.c.created_at.desc(), page.c.id.desc())
    )
