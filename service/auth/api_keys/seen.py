"""The API keys that this process has found good, by which limits know their owners at once."""

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

SEEN_MAX: Final = 10_000  # about 4 MB
# How long a key that was found good counts for its owner where no login is required, until it is
# looked up again: a revoked one must not use up its owner's limits.
LOOKED_UP_EVERY: Final = timedelta(seconds=60)


class SeenKey(NamedTuple):
    """A key that was good when it was last looked up."""

    owner: str
    key_id: UUID
    expires_at: datetime | None
    looked_up_at: datetime


class SeenKeys:
    """The keys found good, SEEN_MAX at most, by their digests; each request looks its key up."""

    def __init__(self, maximum: int = SEEN_MAX) -> None:
        self._maximum = maximum
        self._seen: OrderedDict[bytes, SeenKey] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def find(self, digest: bytes, now: datetime) -> SeenKey | None:
        """Return a key that was found good and has not expired, or None."""
        seen = self._seen.get(digest)
        if seen is None or (seen.expires_at is not None and seen.expires_at <= now):
            return None
        self._seen.move_to_end(digest)
        return seen

    def add(self, digest: bytes, key: SeenKey) -> None:
        """Note that a key is good."""
        self._seen[digest] = key
        self._seen.move_to_end(digest)
        if len(self._seen) > self._maximum:
            self._seen.popitem(last=False)

    def drop(self, digest: bytes) -> None:
        """Forget a key that was refused."""
        self._seen.pop(digest, None)
