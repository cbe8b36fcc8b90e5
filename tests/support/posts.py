"""Posts put into the database without the service."""

from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from service.ids import new_id


async def insert_posts(db: "asyncpg.Connection", author_id: str, number: int) -> list[str]:
    """Posts of one moment, whose order only their ids tell; newest first."""
    ids = sorted((new_id() for _ in range(number)), reverse=True)
    moment = datetime(2026, 11, 22, 10, tzinfo=UTC)
    rows = [(post_id, UUID(author_id), "A title", "Content", moment) for post_id in ids]
    columns = ["id", "author_id", "title", "content", "created_at"]
    await db.copy_records_to_table("posts", records=rows, columns=columns)
    return [str(post_id) for post_id in ids]
