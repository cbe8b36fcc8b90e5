"""What can be done with posts.

A change is one conditional statement: what must hold for it stands in its WHERE, so that nothing
can come between a look and a write. Only when it changed nothing is the post read, to tell why.
"""

from datetime import datetime
from typing import Final, cast
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Label,
    Table,
    bindparam,
    delete,
    false,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from service.auth.models import User
from service.db.base import Id
from service.db.database import execute_count
from service.errors import Conflict, Forbidden, NotFound, PreconditionFailed, TokenRefused
from service.ids import new_id
from service.posts.models import AuthorPostCount, Post
from service.posts.queries import SHOWN, find_post
from service.posts.rows import OwnedPostRow, PostRow
from service.posts.schemas import NewPost, PostChange, versions_named
from service.posts.search import VISIBLE
from service.web.conditional import TagCondition

# How often a change is tried that loses, each time, to another writer of the same post.
ATTEMPTS: Final = 5
CLEANUP_BATCH: Final = 1_000


def _author_name(author_id: UUID | BindParameter[UUID]) -> Label[str]:
    return select(_users.username).where(_users.id == author_id).scalar_subquery().label("author")


class PostNotFound(NotFound):
    """There is no such post."""

    default_message = "Post not found"


class NotTheAuthor(Forbidden):
    """Only the author may change a post."""

    default_message = "Only the author may change this post"


class RemovedByOperator(Forbidden):
    """What an operator deleted only an operator restores."""

    default_message = "An operator removed this post"


class PostContended(Conflict):
    """Others changed the post again and again meanwhile."""

    default_message = "Others are changing this post; try again"


_posts: Final = cast(Table, Post.__table__)
_users: Final = User.__table__.c
_WRITTEN: Final = {name: f"new_{name}" for name in NewPost.model_fields}

# Made once: see queries.py. The author is read with a lock, for an account that is being deleted
# hides its posts, and would miss this one.
_CREATE: Final = (
    insert(_posts)
    .from_select(
        ["id", "author_id", *_WRITTEN],
        select(
            bindparam("post_id", type_=Id),
            _users.id,
            *(bindparam(new, type_=_posts.c[name].type) for name, new in _WRITTEN.items()),
        )
        .where(_users.id == bindparam("caller_id"), _users.deleted_at.is_(None))
        .with_for_update(read=True, key_share=True),
    )
    .returning(*SHOWN, _author_name(bindparam("caller_id", type_=Id)))
)


async def create_post(session: AsyncSession, author_id: UUID, new: NewPost) -> PostRow:
    """Write a post. Raises TokenRefused when the author's account was deleted meanwhile."""
    written = {_WRITTEN[name]: value for name, value in new}
    values = {"post_id": new_id(), "caller_id": author_id, **written}
    post = (await session.execute(_CREATE, values)).one_or_none()
    if post is None:
        raise TokenRefused
    return post


async def hide_posts(session: AsyncSession, author_id: UUID, now: datetime) -> None:
    """Hide all posts of an author from every read."""
    statement = update(Post).where(Post.author_id == author_id, VISIBLE)
    await session.execute(statement.values(deleted_at=now))


async def read_post(session: AsyncSession, post_id: UUID) -> OwnedPostRow:
    """Read a post. Raises PostNotFound."""
    post = await find_post(session, post_id)
    if post is None:
        raise PostNotFound
    return post


async def change_post(
    session: AsyncSession,
    caller_id: UUID,
    post_id: UUID,
    change: PostChange,
    condition: TagCondition | None,
) -> PostRow:
    """Change a post's title or content; equal values change nothing, not even the version.

    Raises PostNotFound, NotTheAuthor, PreconditionFailed or PostContended.
    """
    values = change.given()
    differs = or_(
        false(), *(_posts.c[name].is_distinct_from(value) for name, value in values.items())
    )
    for _ in range(ATTEMPTS):
        if values:
            changed = await _update(
                session,
                caller_id,
                post_id,
                condition,
                differs,
                **values,
                version=Post.version + 1,
                updated_at=func.now(),
            )
            if changed is not None:
                return changed
        post = await _read_own_post(session, caller_id, post_id, condition)
        if all(post._mapping[name] == value for name, value in values.items()):
            return post
    raise PostContended


async def delete_post(
    session: AsyncSession, caller_id: UUID, post_id: UUID, condition: TagCondition | None
) -> None:
    """Hide a post from every read. Raises PostNotFound, NotTheAuthor or PreconditionFailed."""
    for _ in range(ATTEMPTS):
        if await _update(session, caller_id, post_id, condition, deleted_at=func.now()):
            return
        await _read_own_post(session, caller_id, post_id, condition)
    raise PostContended


async def restore_post(session: AsyncSession, caller_id: UUID, post_id: UUID) -> PostRow:
    """Show a deleted post again; one that is not deleted stays as it is.

    Raises PostNotFound, NotTheAuthor or RemovedByOperator.
    """
    # Read with a lock: an account that is being deleted hides its posts, and would miss this one.
    author = select(User.id).where(User.id == caller_id, User.deleted_at.is_(None))
    restore = (
        update(Post)
        .where(
            Post.id == post_id,
            Post.author_id.in_(author.with_for_update(read=True, key_share=True)),
        )
        .where(~VISIBLE, ~Post.deleted_by_operator)
        .values(deleted_at=None)
        .returning(*SHOWN, _author_name(caller_id))
    )
    restored = (await session.execute(restore)).one_or_none()
    if restored is not None:
        return restored
    kept = select(Post.author_id, Post.deleted_by_operator).where(Post.id == post_id)
    post = (await session.execute(kept)).one_or_none()
    if post is None:
        raise PostNotFound
    if post.author_id != caller_id:
        raise NotTheAuthor
    if post.deleted_by_operator:
        raise RemovedByOperator
    return await read_post(session, post_id)


async def delete_retired_posts(session: AsyncSession, before: datetime) -> int:
    """Remove posts deleted before a time, CLEANUP_BATCH at most, and return how many there were."""
    retired = select(_posts.c.id).where(_posts.c.deleted_at < before).limit(CLEANUP_BATCH)
    ids = retired.with_for_update(skip_locked=True)
    return await execute_count(session, delete(_posts).where(_posts.c.id.in_(ids)))


async def delete_orphaned_counts(session: AsyncSession, _now: datetime) -> int:
    """Remove the post counts of at most CLEANUP_BATCH removed authors, and return their number."""
    counts = cast(Table, AuthorPostCount.__table__)
    known = select(_users.id).where(_users.id == counts.c.author_id).exists()
    orphans = select(counts.c.author_id).distinct().where(~known).limit(CLEANUP_BATCH)
    return await execute_count(session, delete(counts).where(counts.c.author_id.in_(orphans)))


async def _update(
    session: AsyncSession,
    caller_id: UUID,
    post_id: UUID,
    condition: TagCondition | None,
    *conditions: ColumnElement[bool],
    **values: object,
) -> PostRow | None:
    statement = update(Post).where(Post.id == post_id, Post.author_id == caller_id, VISIBLE)
    if (versions := _versions(condition)) is not None:
        statement = statement.where(Post.version.in_(versions))
    statement = statement.where(*conditions).values(**values)
    return (
        await session.execute(statement.returning(*SHOWN, _author_name(caller_id)))
    ).one_or_none()


def _versions(condition: TagCondition | None) -> list[int] | None:
    """The versions that may be changed; None when any may."""
    return None if condition is None or condition.anything else versions_named(condition)


async def _read_own_post(
    session: AsyncSession, caller_id: UUID, post_id: UUID, condition: TagCondition | None
) -> OwnedPostRow:
    post = await read_post(session, post_id)
    if post.author_id != caller_id:
        raise NotTheAuthor
    versions = _versions(condition)
    if versions is not None and post.version not in versions:
        raise PreconditionFailed
    return post
