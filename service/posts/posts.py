"""The actions of posts beside creation: changes, deletion and restoration.

A change is one statement with its conditions in WHERE, so that nothing can happen between a check
and the write. Only when no row changed is the post read, to find the reason.
"""

from datetime import datetime
from typing import Final, cast
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    SQLColumnExpression,
    Table,
    delete,
    false,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from service.auth.models import User
from service.db.database import execute_count, require_replication
from service.errors import Conflict, Forbidden, NotFound, PreconditionFailed
from service.posts.models import Post
from service.posts.queries import KEPT, SHOWN, VISIBLE, author_name, find_post
from service.posts.rows import OwnedPostRow, PostRow
from service.posts.schemas import PostChange, post_tag, versions_named
from service.web.conditional import AlreadyCurrent, Preconditions

# How often a change is tried when others change the same post at the same time.
ATTEMPTS: Final = 5
CLEANUP_BATCH: Final = 1_000


class PostNotFound(NotFound):
    """The post does not exist."""

    default_message = "Post not found"


class NotTheAuthor(Forbidden):
    """The caller is not the author of the post."""

    default_message = "Only the author may change this post"


class RemovedByOperator(Forbidden):
    """An operator removed the post, so that only an operator may restore it."""

    default_message = "An operator removed this post"


class PostContended(Conflict):
    """Others changed the post during each attempt."""

    default_message = "Others are changing this post; try again"


_posts: Final = cast(Table, Post.__table__)


async def read_post(session: AsyncSession, post_id: UUID) -> OwnedPostRow:
    """Return a post. Raises PostNotFound."""
    post = await find_post(session, post_id)
    if post is None:
        raise PostNotFound
    return post


async def change_post(
    session: AsyncSession,
    caller_id: UUID,
    post_id: UUID,
    change: PostChange,
    conditions: Preconditions,
) -> PostRow:
    """Change a post, and return it; equal values change nothing, not even the version.

    Raises PostNotFound, NotTheAuthor, PreconditionFailed or PostContended.
    """
    values = change.given()
    new = {**values, "version": Post.version + 1, "updated_at": func.now()}
    differs = or_(
        false(), *(_posts.c[name].is_distinct_from(value) for name, value in values.items())
    )
    for _ in range(ATTEMPTS):
        if values:
            changed = await _update(session, caller_id, post_id, conditions, differs, **new)
            if changed is not None:
                return changed
        post = await _read_own_post(session, caller_id, post_id, conditions)
        if all(post._mapping[name] == value for name, value in values.items()):
            if values:
                await require_replication(session)
            return post
    raise PostContended


async def delete_post(
    session: AsyncSession, caller_id: UUID, post_id: UUID, conditions: Preconditions
) -> None:
    """Hide a post from every read. Raises PostNotFound, NotTheAuthor or PreconditionFailed."""
    for _ in range(ATTEMPTS):
        if await _update(session, caller_id, post_id, conditions, deleted_at=func.now()):
            return
        await _read_own_post(session, caller_id, post_id, conditions)
    raise PostContended


async def restore_post(session: AsyncSession, caller_id: UUID, post_id: UUID) -> PostRow:
    """Restore a post if deleted. Raises PostNotFound, NotTheAuthor or RemovedByOperator."""
    # With a lock, because an account that is being deleted would miss this post.
    author = select(User.id).where(User.id == caller_id, User.deleted_at.is_(None))
    restore = (
        update(Post)
        .where(
            Post.id == post_id,
            Post.author_id.in_(author.with_for_update(read=True, key_share=True)),
        )
        .where(~KEPT, ~Post.deleted_by_operator)
        .values(deleted_at=None)
        .returning(*SHOWN, author_name(caller_id))
    )
    restored = (await session.execute(restore)).one_or_none()
    if restored is not None:
        return restored
    deletion = select(Post.author_id, Post.deleted_by_operator).where(Post.id == post_id)
    post = (await session.execute(deletion)).one_or_none()
    if post is None:
        raise PostNotFound
    if post.author_id != caller_id:
        raise NotTheAuthor
    if post.deleted_by_operator:
        raise RemovedByOperator
    await require_replication(session)
    return await read_post(session, post_id)


async def delete_retired_posts(session: AsyncSession, before: datetime) -> int:
    """Remove posts deleted before a time, CLEANUP_BATCH at most, and return their number."""
    retired = select(_posts.c.id).where(_posts.c.deleted_at < before).limit(CLEANUP_BATCH)
    ids = retired.with_for_update(skip_locked=True)
    return await execute_count(session, delete(_posts).where(_posts.c.id.in_(ids)))


def has_posts(author_id: SQLColumnExpression[UUID]) -> ColumnElement[bool]:
    """Return the condition that an author has posts, deleted ones included."""
    return select(_posts.c.id).where(_posts.c.author_id == author_id).exists()


async def _update(
    session: AsyncSession,
    caller_id: UUID,
    post_id: UUID,
    conditions: Preconditions,
    *where: ColumnElement[bool],
    **values: object,
) -> PostRow | None:
    statement = update(Post).where(Post.id == post_id, Post.author_id == caller_id, VISIBLE)
    versions = _versions(conditions)
    if conditions.if_none_match is not None:
        # A tag also has the author's name, which this statement would have to look up.
        post = await _read_own_post(session, caller_id, post_id, conditions)
        versions = [post.version]
    if versions is not None:
        statement = statement.where(Post.version.in_(versions))
    statement = statement.where(*where).values(**values)
    changed = await session.execute(statement.returning(*SHOWN, author_name(caller_id)))
    return changed.one_or_none()


def _versions(conditions: Preconditions) -> list[int] | None:
    """Return the versions that If-Match lets be changed, or None for any."""
    condition = conditions.if_match
    return None if condition is None or condition.anything else versions_named(condition)


async def _read_own_post(
    session: AsyncSession, caller_id: UUID, post_id: UUID, conditions: Preconditions
) -> OwnedPostRow:
    post = await read_post(session, post_id)
    if post.author_id != caller_id:
        raise NotTheAuthor
    versions = _versions(conditions)
    if versions is not None and post.version not in versions:
        raise PreconditionFailed
    if conditions.exclude(post_tag(post)):
        raise AlreadyCurrent
    return post
