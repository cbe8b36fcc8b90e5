"""The outbox events of posts, read in order and without gaps, and deleted when old."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Self

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from service.db.connecting import Connection
from service.db.database import execute_count
from service.db.synchronous import REPLICATE
from service.web import sse
from service.web.broadcast import Message

CHANNEL: Final = "post_events"
DELETED: Final = "post.deleted"
RETENTION: Final = timedelta(hours=24)
# What one statement reads at most, in events and bytes; a single event may have more bytes.
PAGE_EVENTS: Final = 200
PAGE_BYTES: Final = 65_536

_ID: Final = re.compile(r"(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,18})")
_MAX: Final = 2**63 - 1

# Legal in JSON, but some clients take them for the end of a line.
_LINE_ENDS: Final = {ord(end): f"\\u{ord(end):04x}" for end in "\u0085\u2028\u2029"}

# Below this every transaction has ended, so that no earlier event can be committed any more.
_SETTLED: Final = "horizon < pg_snapshot_xmin(pg_current_snapshot())::text::bigint"

_NEWEST: Final = f"""
SELECT horizon, id FROM post_events WHERE {_SETTLED} ORDER BY horizon DESC, id DESC LIMIT 1
"""  # noqa: S608 - made of constants

# The post of an event that holds no copy of it, because it was long. Without a row the post has
# been deleted, of which a later event tells.
_POST: Final = f"""
FROM posts WHERE posts.id = page.post_id AND page.kind <> '{DELETED}' AND deleted_at IS NULL
    AND author_id NOT IN (SELECT author_id FROM hidden_authors)
"""  # noqa: S608 - made of constants

# `settled_events` is the number of events that could be read, also of those beyond PAGE_BYTES. A
# long post counts by its content, whose length PostgreSQL knows without reading it.
_READ: Final = f"""
SELECT horizon, id, kind, post_id, settled, settled_events, CASE WHEN settled THEN
    coalesce(data, (SELECT (SELECT shown FROM post_as_json(posts) AS shown) {_POST}))
END AS data
FROM (
    SELECT *, count(*) FILTER (WHERE settled) OVER () AS settled_events, sum(bytes) OVER (
        ORDER BY horizon, id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS bytes_before
    FROM (
        SELECT *, CASE WHEN settled THEN coalesce(
            octet_length(data), (SELECT octet_length(content) {_POST}), 0
        ) END AS bytes
        FROM (
            SELECT *, {_SETTLED} AS settled FROM post_events
            WHERE (horizon, id) > ($1, $2) ORDER BY horizon, id LIMIT {PAGE_EVENTS}
        ) AS page
    ) AS measured
) AS page
WHERE bytes_before IS NULL OR bytes_before < {PAGE_BYTES}
ORDER BY horizon, id
"""  # noqa: S608 - made of constants

_KNOWN: Final = """
SELECT EXISTS (SELECT FROM post_events WHERE horizon = $1 AND id = $2 AND created_at >= $3)
"""

# From the oldest on, and never the last old one, which a client may have seen last.
_DELETE_OLD: Final = """
DELETE FROM post_events USING (
    SELECT horizon, id, bool_and(old AND next_old) OVER (ORDER BY horizon, id) AS removable
    FROM (
        SELECT horizon, id, created_at < :before AS old,
            lead(created_at < :before, 1, false) OVER (ORDER BY horizon, id) AS next_old
        FROM post_events ORDER BY horizon, id LIMIT :batch
    ) AS oldest
) AS marked
WHERE marked.removable AND post_events.horizon = marked.horizon AND post_events.id = marked.id
"""


class Position(NamedTuple):
    """A place in the order of events; as text, the id of the event there."""

    horizon: int
    id: int

    def __str__(self) -> str:
        return f"{self.horizon}-{self.id}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the position of an event's id, or None for a malformed one."""
        match = _ID.fullmatch(text)
        position = cls(int(match[1]), int(match[2])) if match else None
        return position if position and max(position) <= _MAX else None


@dataclass(frozen=True, slots=True)
class Page:
    """The next events; if `full`, more can be read now, and if some are `held_back`, later.

    `oldest_held` is the first of those that are held back.
    """

    messages: Sequence[Message]
    full: bool
    oldest_held: Position | None

    @property
    def held_back(self) -> bool:
        """Whether a transaction that has not ended keeps events back."""
        return self.oldest_held is not None


async def newest_position(connection: Connection) -> Position:
    """Return the position of the last event that can be read."""
    row = await connection.fetchrow(_NEWEST)
    return Position(row["horizon"], row["id"]) if row else Position(0, 0)


async def is_known(connection: Connection, position: Position, now: datetime) -> bool:
    """Whether an event exists and is young enough, so that all after it exist, too."""
    return bool(await connection.fetchval(_KNOWN, *position, now - RETENTION))


async def read_page(connection: Connection, after: Position) -> Page:
    """Return the events after a position whose order is settled."""
    rows = await connection.fetch(_READ, *after)
    settled = [row for row in rows if row["settled"]]
    readable = rows[0]["settled_events"] if rows else 0
    held = next((row for row in rows if not row["settled"]), None)
    return Page(
        [_message(row) for row in settled],
        full=len(settled) == PAGE_EVENTS or len(settled) < readable,
        oldest_held=Position(held["horizon"], held["id"]) if held else None,
    )


async def await_replication(connection: Connection) -> None:
    """Wait until a synchronous standby, where there is one, has all that was read.

    A commit whose connection was lost is seen before the standby has it, and a failover takes its
    event away; another event may then get the same position.
    """
    await connection.execute(REPLICATE)


async def delete_old_events(session: AsyncSession, before: datetime, batch: int = 10_000) -> int:
    """Delete events from before a time, `batch` at most, and return their number."""
    return await execute_count(session, text(_DELETE_OLD), {"before": before, "batch": batch})


def _message(row: asyncpg.Record) -> Message:
    position = Position(row["horizon"], row["id"])
    if row["kind"] == DELETED:
        data = f'{{"id":"{row["post_id"]}"}}'
    elif row["data"] is None:
        return Message(sse.position(position), position)
    else:
        data = row["data"].translate(_LINE_ENDS)
    return Message(sse.event(row["kind"], data, position), position)
