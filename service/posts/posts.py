"""The actions of posts beside creation: changes, deletion and restoration.

A change is one statement with its conditions in WHERE, so that nothing can happen between a check
and the write. Only when no row changed is the post read, to find the reason.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache, partial
from typing import Final, cast
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Integer,
    SQLColumnExpression,
    Table,
    Update,
    any_,
    bindparam,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from service.auth.models import User
from service.db.autocommit import Autocommit
from service.db.base import Id
from service.db.database import execute_count
from service.db.query import CompiledQuery, CompiledWrite, Record, sent_as_text
from service.db.synchronous import require_replication
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
_columns: Final = _posts.c
_users: Final = User.__table__.c
_post_id: Final = _columns.id == bindparam("post_id", type_=Id)
_caller_id: Final = bindparam("caller_id", type_=Id)
_RETURNED: Final = (*SHOWN, author_name(_caller_id))
_DELETION: Final = CompiledQuery(
    select(_columns.author_id, _columns.deleted_by_operator).where(_post_id)
)


def _own_visible(versioned: bool) -> Update:
    statement = update(_posts).where(_post_id, _columns.author_id == _caller_id, VISIBLE)
    if versioned:
        statement = statement.where(_columns.version == any_(sent_as_text("versions", Integer())))
    return statement


@cache
def _change(names: frozenset[str], versioned: bool) -> CompiledWrite:
    new = {name: bindparam(f"new_{name}", type_=_columns[name].type) for name in sorted(names)}
    differs = or_(*(_columns[name].is_distinct_from(value) for name, value in new.items()))
    counted = {"version": _columns.version + 1, "updated_at": func.now()}
    statement = _own_visible(versioned).where(differs).values({**new, **counted})
    return CompiledWrite(statement.returning(*_RETURNED))


@cache
def _delete(versioned: bool) -> CompiledWrite:
    deleted = _own_visible(versioned).values(deleted_at=func.now())
    return CompiledWrite(deleted.returning(_columns.id))


def _restore() -> CompiledWrite:
    # With a lock, because an account that is being deleted would miss this post.
    author = select(_users.id).where(_users.id == _caller_id, _users.deleted_at.is_(None))
    by_author = _columns.author_id.in_(author.with_for_update(read=True, key_share=True))
    deleted = (~KEPT, ~_columns.deleted_by_operator)
    restored = update(_posts).where(_post_id, by_author, *deleted).values(deleted_at=None)
    return CompiledWrite(restored.returning(*_RETURNED))


_RESTORE: Final = _restore()


async def read_post(session: AsyncSession | Autocommit, post_id: UUID) -> OwnedPostRow:
    """Return a post. Raises PostNotFound."""
    post = await find_post(session, post_id)
    if post is None:
        raise PostNotFound
    return post


async def change_post(
    db: Autocommit, caller_id: UUID, post_id: UUID, change: PostChange, conditions: Preconditions
) -> PostRow:
    """Change a post, and return it; equal values change nothing, not even the version.

    Raises PostNotFound, NotTheAuthor, PreconditionFailed or PostContended.
    """
    values = change.given()
    for _ in range(ATTEMPTS):
        if values:
            change_them = partial(_change, frozenset(values))
            changed = await _write(db, change_them, caller_id, post_id, conditions, values)
            if changed is not None:
                return changed
        post = await _read_own_post(db, caller_id, post_id, conditions)
        if all(post._mapping[name] == value for name, value in values.items()):
            if values:
                await require_replication(db)
            return post
    raise PostContended


async def delete_post(
    db: Autocommit, caller_id: UUID, post_id: UUID, conditions: Preconditions
) -> None:
    """Hide a post from every read. Raises PostNotFound, NotTheAuthor or PreconditionFailed."""
    for _ in range(ATTEMPTS):
        if await _write(db, _delete, caller_id, post_id, conditions, {}):
            return
        await _read_own_post(db, caller_id, post_id, conditions)
    raise PostContended


async def restore_post(db: Autocommit, caller_id: UUID, post_id: UUID) -> PostRow:
    """Restore a post if deleted. Raises PostNotFound, NotTheAuthor or RemovedByOperator."""
    values = {"post_id": post_id, "caller_id": caller_id}
    restored = await db.write(_RESTORE, values)
    if restored is not None:
        return restored
    post = await db.fetch_one(_DELETION, values)
    if post is None:
        raise PostNotFound
    if post.author_id != caller_id:
        raise NotTheAuthor
    if post.deleted_by_operator:
        raise RemovedByOperator
    await require_replication(db)
    return await read_post(db, post_id)


async def delete_retired_posts(session: AsyncSession, before: datetime) -> int:
    """Remove posts deleted before a time, CLEANUP_BATCH at most, and return their number."""
    retired = select(_columns.id).where(_columns.deleted_at < before).limit(CLEANUP_BATCH)
    ids = retired.with_for_update(skip_locked=True)
    return await execute_count(session, delete(_posts).where(_columns.id.in_(ids)))


def has_posts(author_id: SQLColumnExpression[UUID]) -> ColumnElement[bool]:
    """Return the condition that an author has posts, deleted ones included."""
    return select(_columns.id).where(_columns.author_id == author_id).exists()


async def _write(
    db: Autocommit,
    statement: Callable[[bool], CompiledWrite],
    caller_id: UUID,
    post_id: UUID,
    conditions: Preconditions,
    new: Mapping[str, object],
) -> Record | None:
    versions = _versions(conditions)
    if conditions.if_none_match is not None:
        # A tag also has the author's name, which this statement would have to look up.
        post = await _read_own_post(db, caller_id, post_id, conditions)
        versions = [post.version]
    values: dict[str, object] = {"post_id": post_id, "caller_id": caller_id}
    values |= {f"new_{name}": value for name, value in new.items()}
    if versions is not None:
        values["versions"] = [str(version) for version in versions]
    return await db.write(statement(versions is not None), values)


def _versions(conditions: Preconditions) -> list[int] | None:
    """Return the versions that If-Match lets be changed, or None for any."""
    condition = conditions.if_match
    return None if condition is None or condition.anything else versions_named(condition)


async def _read_own_post(
    db: Autocommit, caller_id: UUID, post_id: UUID, conditions: Preconditions
) -> OwnedPostRow:
    post = await read_post(db, post_id)
    if post.author_id != caller_id:
        raise NotTheAuthor
    versions = _versions(conditions)
    if versions is not None and post.version not in versions:
        raise PreconditionFailed
    if conditions.exclude(post_tag(post)):
        raise AlreadyCurrent
    return post
