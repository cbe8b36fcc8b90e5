"""A job that makes the words of stored posts anew, after a migration changed how they are made.

One job for each batch, in a transaction of its own with the job of the next, so that it goes on
where it was interrupted, and no writer waits longer than for one batch.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.jobs.context import JobContext
from service.jobs.queue import enqueue
from service.posts.models import Post

REFRESH_JOB: Final = "refresh post words"
BATCH: Final = 500

_posts: Final = Post.__table__.c


async def refresh_words(context: JobContext, payload: Mapping[str, Any]) -> None:
    """Refresh the posts after an id, BATCH at most, and enqueue the next batch; a job."""
    after = None if payload["after"] is None else UUID(payload["after"])
    async with context.database.transaction() as session:
        last = await _refresh_batch(session, after)
        if last is not None:
            await enqueue(session, REFRESH_JOB, {"after": str(last)})


async def _refresh_batch(session: AsyncSession, after: UUID | None) -> UUID | None:
    """Refresh a batch, and return its last id, or None when there is nothing left."""
    statement = select(_posts.id).order_by(_posts.id).limit(BATCH)
    if after is not None:
        statement = statement.where(_posts.id > after)
    ids: Sequence[UUID] = (await session.scalars(statement)).all()
    if not ids:
        return None
    words = func.post_words(_posts.title, _posts.content)
    stale = update(Post).where(Post.id.in_(ids), _posts.search.is_distinct_from(words))
    # The same title: PostgreSQL makes the words of every row whose title or content is written.
    await session.execute(stale.values(title=Post.title))
    return ids[-1]
