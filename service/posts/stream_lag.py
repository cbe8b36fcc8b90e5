"""How long a stream has waited for a transaction that stays open, and whose that is."""

from time import monotonic
from typing import Final

import structlog

from service.db.connecting import Connection
from service.posts.events import Position

WARN_AFTER: Final = 10.0  # seconds
WARN_EVERY: Final = 60.0  # seconds between two warnings while the same lasts

# The oldest transaction of the whole server that has an id, in any of its databases. Its age is
# shown to members of its role and of pg_read_all_stats; its query to nobody here.
_OLDEST: Final = """
SELECT pid, application, extract(epoch FROM clock_timestamp() - begun)::float AS age FROM (
    SELECT pid, application_name AS application, xact_start AS begun, backend_xid AS xid
    FROM pg_stat_activity WHERE backend_xid IS NOT NULL
    UNION ALL
    SELECT NULL, 'prepared transaction ' || gid, prepared, transaction FROM pg_prepared_xacts
) AS running
ORDER BY age(xid) DESC LIMIT 1
"""

log: Final = structlog.get_logger(__name__)


class StreamLag:
    """The wait of the oldest event that cannot be sent yet, as one process sees it."""

    def __init__(self) -> None:
        self._oldest: Position | None = None
        self._since = 0.0
        self._warned: float | None = None

    @property
    def seconds(self) -> float:
        """How long that event has waited; 0 when none does."""
        return monotonic() - self._since if self._oldest is not None else 0.0

    def note(self, oldest: Position | None) -> bool:
        """Note the oldest event that waits, if any; return whether a warning is due."""
        now = monotonic()
        if oldest is None or oldest != self._oldest:
            self._oldest, self._since, self._warned = oldest, now, None
        if oldest is None or now - self._since < WARN_AFTER:
            return False
        if self._warned is not None and now - self._warned < WARN_EVERY:
            return False
        self._warned = now
        return True

    async def warn(self, connection: Connection) -> None:
        """Log which transaction is waited for; not what it does."""
        found = await connection.fetchrow(_OLDEST)
        if found is not None:
            log.warning(
                "stream waits for a transaction that stays open",
                pid=found["pid"],
                application=found["application"],
                age=None if found["age"] is None else round(found["age"], 1),
                wait=round(self.seconds, 1),
            )
