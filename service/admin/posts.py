"""The actions of operators on posts."""

from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.admin.post_schemas import PostQuery
from service.audit.events import Kind, record
from service.auth.models import User
from service.db.base import AnyRow
from service.db.synchronous import require_replication
from service.posts.every_state import find_post_in_any_state, list_posts_in_every_state
from service.posts.models import Post
from service.posts.posts import PostNotFound, read_post
from service.posts.queries import KEPT, VISIBLE, Filters
from service.posts.rows import PostRow
from service.web.client import Origin
from service.web.pagination import Position, Slice


class AuthorDeleted(PostNotFound):
    """The post cannot be restored, because the account of its author was deleted."""

    default_message = "The account of the post's author was deleted, so the post stays hidden"


async def list_posts(session: AsyncSession, query: PostQuery, *, after: Position | None) -> Slice:
    """Return the posts of a query, newest first."""
    filters = Filters(query.author or None, query.q or None)
    return await list_posts_in_every_state(
        session, filters, query.state, limit=query.per_page, after=after
    )


async def read_post_in_any_state(session: AsyncSession, post_id: UUID) -> AnyRow:
    """Return a post, also when it is hidden. Raises PostNotFound."""
    post = await find_post_in_any_state(session, post_id)
    if post is None:
        raise PostNotFound
    return post


async def remove_post(session: AsyncSession, actor_id: UUID, post_id: UUID, origin: Origin) -> None:
    """Hide a post from every read until an operator restores it. Raises PostNotFound."""
    remove = (
        update(Post)
        .where(Post.id == post_id, VISIBLE)
        .values(deleted_at=func.now(), deleted_by_operator=True)
        .returning(Post.author_id)
    )
    author_id = (await session.execute(remove)).scalar_one_or_none()
    if author_id is None:
        raise PostNotFound
    await _record(session, Kind.POST_REMOVED, author_id, actor_id, post_id, origin)


async def restore_post(
    session: AsyncSession, actor_id: UUID, post_id: UUID, origin: Origin
) -> PostRow:
    """Return a post, restored if deleted. Raises PostNotFound or AuthorDeleted."""
    # With a lock, because an account that is being deleted would miss this post.
    author = select(User.id).where(User.deleted_at.is_(None), User.id == Post.author_id)
    restore = (
        update(Post)
        .where(Post.id == post_id, ~KEPT)
        .where(Post.author_id.in_(author.with_for_update(read=True, key_share=True)))
        .values(deleted_at=None, deleted_by_operator=False)
        .returning(Post.author_id)
    )
    author_id = (await session.execute(restore)).scalar_one_or_none()
    if author_id is None:
        await require_replication(session)
    else:
        await _record(session, Kind.POST_RESTORED, author_id, actor_id, post_id, origin)
    try:
        return await read_post(session, post_id)
    except PostNotFound as error:
        # Operators see such a post, so that it is not unknown to them.
        if await find_post_in_any_state(session, post_id) is not None:
            raise AuthorDeleted from error
        raise


async def _record(
    session: AsyncSession,
    kind: Kind,
    author_id: UUID,
    actor_id: UUID,
    post_id: UUID,
    origin: Origin,
) -> None:
    detail = {"post_id": str(post_id)}
    await record(session, kind, user_id=author_id, actor_id=actor_id, origin=origin, detail=detail)
