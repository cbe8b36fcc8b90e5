"""What can be done with posts."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.accounts.models import User
from service.database import AnyRow, Id
from service.errors import Forbidden, NotFound, TokenRefused
from service.ids import new_id
from service.posts.models import Post
from service.posts.queries import find_post
from service.posts.schemas import NewPost, PostChange


class PostNotFound(NotFound):
    """There is no such post."""

    default_message = "Post not found"


class NotTheAuthor(Forbidden):
    """Only the author may change a post."""

    default_message = "Only the author may change this post"


async def create_post(session: AsyncSession, author_id: UUID, new: NewPost) -> AnyRow:
    """Write a post. Raises TokenRefused when the author's account was deleted meanwhile."""
    # Locked: an account that is being deleted hides its posts, and would miss this one.
    author = (
        select(literal(new_id(), Id), User.id, literal(new.title), literal(new.content))
        .where(User.id == author_id, User.deleted_at.is_(None))
        .with_for_update(read=True, key_share=True)
    )
    name = select(User.username).where(User.id == author_id).scalar_subquery()
    statement = (
        insert(Post)
        .from_select(["id", "author_id", "title", "content"], author)
        .returning(Post.id, Post.title, Post.content, Post.created_at, name.label("author"))
    )
    post = (await session.execute(statement)).one_or_none()
    if post is None:
        raise TokenRefused
    return post


async def hide_posts(session: AsyncSession, author_id: UUID, now: datetime) -> None:
    """Hide all posts of an author from every read."""
    statement = update(Post).where(Post.author_id == author_id, Post.deleted_at.is_(None))
    await session.execute(statement.values(deleted_at=now))


async def read_post(session: AsyncSession, post_id: UUID) -> AnyRow:
    """Read a post. Raises PostNotFound."""
    post = await find_post(session, post_id)
    if post is None:
        raise PostNotFound
    return post


async def change_post(
    session: AsyncSession, caller_id: UUID, post_id: UUID, change: PostChange
) -> AnyRow:
    """Change a post's title or content. Raises PostNotFound or NotTheAuthor."""
    post = await _read_own_post(session, caller_id, post_id)
    values = change.given()
    if not values:
        return post
    await session.execute(
        update(Post).where(Post.id == post_id).values(**values, updated_at=func.now())
    )
    return await read_post(session, post_id)


async def delete_post(session: AsyncSession, caller_id: UUID, post_id: UUID) -> None:
    """Delete a post. Raises PostNotFound or NotTheAuthor."""
    await _read_own_post(session, caller_id, post_id)
    await session.execute(delete(Post).where(Post.id == post_id))


async def _read_own_post(session: AsyncSession, caller_id: UUID, post_id: UUID) -> AnyRow:
    post = await read_post(session, post_id)
    if post.author_id != caller_id:
        raise NotTheAuthor
    return post
