"""The reads of one request: by a replica where that may answer, else by the primary."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar
from uuid import UUID

from service.db.batching import Rows
from service.db.database import Database
from service.db.query import CompiledQuery, KeyedQuery, Record
from service.db.replica.progress import Progress
from service.db.replica.replica import WAIT, Replica, ReplicaFailed
from service.errors import Unavailable

T = TypeVar("T")


class ReplicaReads:
    """Reads for one caller, an account's id or None, who sees all that was written before."""

    def __init__(self, replica: Replica, primary: Database, caller: str | None) -> None:
        self._replica = replica
        self._primary = primary
        self._caller = caller
        self._last_write: float | None = None

    async def fetch_shared(
        self, query: CompiledQuery, values: Mapping[str, Any], make: Callable[[Rows], T]
    ) -> T:
        """Return what `make` makes of the rows, once for all that ask the same at the same time.

        Raises Unavailable when the primary is asked and does not answer.
        """
        if await self._may_read_replica():
            with suppress(ReplicaFailed):
                return await self._replica.fetch_shared(query, values, make)
        self._replica.reads["primary"] += 1
        return await self._primary.autocommit.fetch_shared(query, values, make)

    async def fetch_by_key(self, lookup: KeyedQuery, key: UUID) -> Record | None:
        """Read the row that has a key; the replica alone does not say that there is none.

        Its word counts where the primary is away, and does not answer at once.
        Raises Unavailable when the primary is asked and does not answer.
        """
        if await self._may_read_replica():
            with suppress(ReplicaFailed):
                row = await self._replica.fetch_by_key(lookup, key)
                if row is not None:
                    return row
                progress = self._replica.watcher.progress
                if progress.primary_away:
                    return await self._fetch_from_lost(progress, lookup, key)
                self._replica.fallbacks["not_found"] += 1
        self._replica.reads["primary"] += 1
        return await self._primary.autocommit.fetch_by_key(lookup, key)

    async def _fetch_from_lost(
        self, progress: Progress, lookup: KeyedQuery, key: UUID
    ) -> Record | None:
        """Read the row from a primary that may be away; None as well when it does not answer."""
        if progress.failed_lately:
            return None
        self._replica.fallbacks["not_found"] += 1
        try:
            async with asyncio.timeout(WAIT):
                row = await self._primary.autocommit.fetch_by_key(lookup, key)
        except (Unavailable, TimeoutError):
            progress.note_failure()
            return None
        self._replica.reads["primary"] += 1
        return row

    async def _may_read_replica(self) -> bool:
        reason = self._replica.refusal()
        if reason is None and not await self._sees_own_writes():
            reason = "own_writes"
        if reason is not None:
            self._replica.fallbacks[reason] += 1
        return reason is None

    async def _sees_own_writes(self) -> bool:
        if self._caller is None:
            return True
        if self._last_write is None:
            self._last_write = await self._replica.own_writes.last(self._caller)
        return self._replica.covers(self._last_write)
