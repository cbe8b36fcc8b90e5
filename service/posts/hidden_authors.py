"""The posts of a deleted account, hidden in batches, each in a transaction of its own.

Hiding a post costs more than finding it: with 240,000 posts one statement ran into its time limit.
So the deletion of an account hides the newest posts, and when more are left, no read shows any post
of that author (the table hidden_authors) until jobs have hidden them. The newest are first, because
lists begin with them and would have to skip them.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.jobs.context import JobContext
from service.jobs.queue import enqueue
from service.posts.models import HiddenAuthor, Post
from service.posts.queries import KEPT
from service.web.pagination import Position, newest_first

HIDE_JOB: Final = "hide posts"
BATCH: Final = 1_000
# After which the clean-up hides what is left: the jobs have failed, or the account has millions.
JOB_TIME: Final = timedelta(hours=1)

_posts: Final = Post.__table__.c
_authors: Final = HiddenAuthor.__table__.c


async def hide_author(session: AsyncSession, author_id: UUID, now: datetime) -> None:
    """Hide all posts of an author from every read, once the transaction commits.

    The author's account must be locked, and its deletion be part of the transaction, so that no
    post is created or restored meanwhile.
    """
    batch = await _hide_batch(session, author_id, now)
    if len(batch) == BATCH:
        await session.execute(insert(HiddenAuthor), {"author_id": author_id, "hidden_at": now})
        await _enqueue(session, author_id, batch[-1])


async def hide_posts(context: JobContext, payload: Mapping[str, Any]) -> None:
    """Hide the author's posts after a position, BATCH at most, and enqueue the next batch; a job.

    A job that runs twice finds its posts hidden, and goes on after them.
    """
    author_id = UUID(payload["author"])
    after = Position(datetime.fromisoformat(payload["created_at"]), UUID(payload["id"]))
    async with context.database.transaction() as session:
        left = select(_authors.hidden_at).where(_authors.author_id == author_id)
        hidden_at = (await session.scalars(left.with_for_update())).one_or_none()
        if hidden_at is None:
            return
        batch = await _hide_batch(session, author_id, hidden_at, after)
        if len(batch) == BATCH:
            await _enqueue(session, author_id, batch[-1])
        else:
            await _forget(session, author_id)


async def hide_left_over(session: AsyncSession, before: datetime) -> int:
    """Hide posts of an author who was hidden before a time, BATCH at most, and return a count.

    The count is that of the posts, or 1 for an author of whom none was left.
    """
    oldest = select(_authors.author_id, _authors.hidden_at).where(_authors.hidden_at < before)
    oldest = oldest.order_by(_authors.hidden_at).limit(1).with_for_update(skip_locked=True)
    author = (await session.execute(oldest)).one_or_none()
    if author is None:
        return 0
    batch = await _hide_batch(session, author.author_id, author.hidden_at)
    if not batch:
        await _forget(session, author.author_id)
    return max(len(batch), 1)


async def _hide_batch(
    session: AsyncSession, author_id: UUID, now: datetime, after: Position | None = None
) -> list[Position]:
    """Hide the newest posts of an author, or those after a position, and return their positions."""
    left = select(_posts.created_at, _posts.id).where(_posts.author_id == author_id, KEPT)
    if after is not None:
        # Hidden posts keep their places in the index until a vacuum: without the position each
        # batch would pass by those of all batches before.
        left = left.where(tuple_(_posts.created_at, _posts.id) < (after.created_at, after.id))
    newest = left.order_by(*newest_first(_posts)).limit(BATCH).with_for_update()
    batch = [Position(*row) for row in (await session.execute(newest)).all()]
    if batch:
        hide = update(Post).where(Post.id.in_([position.id for position in batch]))
        await session.execute(hide.values(deleted_at=now))
    return batch


async def _enqueue(session: AsyncSession, author_id: UUID, after: Position) -> None:
    position = {"created_at": after.created_at.isoformat(), "id": str(after.id)}
    await enqueue(session, HIDE_JOB, {"author": str(author_id), **position})


async def _forget(session: AsyncSession, author_id: UUID) -> None:
    """End the hiding of an author, unless posts are left."""
    left = select(_posts.id).where(_posts.author_id == author_id, KEPT).exists()
    await session.execute(delete(HiddenAuthor).where(_authors.author_id == author_id, ~left))
