"""Rows loaded in batches: those that requests look up at the same time come by one statement.

A loop that serves many connections finds many requests at once in its sockets. Each with a
statement of its own, on a connection of its own, costs several times as much, here and in
PostgreSQL, as one statement for all of them.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from copy import copy
from functools import partial
from typing import Any, Final
from uuid import UUID

from service.db.query import CompiledQuery, KeyedQuery, Record
from service.errors import Unavailable

# Keys in a statement: with more, a row costs no less, and all of them wait for the slowest.
BATCH_MAX: Final = 100
CLOSING: Final = 1.0  # seconds for statements that are given up to end

Rows = Sequence[Record]
Read = Callable[[CompiledQuery, Callable[[], Mapping[str, Any]]], Coroutine[Any, Any, Rows]]


class BatchLoader:
    """Loads rows by their keys for many callers at once (the DataLoader pattern).

    `read` runs a query, and asks for its parameters once it has a connection. Until then lookups
    of the same kind join the batch: the longer connections are waited for, the fewer are needed.
    No lookup joins a statement that is under way, which may not see what was committed since.
    """

    def __init__(self, read: Read, max_waiting: int) -> None:
        self._read = read
        self._max_waiting = max_waiting
        self._waiting = 0
        self._open: dict[KeyedQuery, _Batch] = {}
        self._unasked: set[_Batch] = set()
        self._tasks: set[asyncio.Task[Rows]] = set()

    @property
    def queued(self) -> int:
        """How many lookups wait for a connection, less the first of each batch (the pool's)."""
        return sum(max(len(batch) - 1, 0) for batch in self._unasked)

    async def load(self, lookup: KeyedQuery, key: UUID) -> Record | None:
        """Load the row that has the key, if there is one. Raises Unavailable, or what `read` does.

        It waits as long as the first lookup of its batch may.
        """
        if self._waiting >= self._max_waiting:
            raise Unavailable("The service is busy")
        batch = self._open.get(lookup)
        if batch is None or len(batch) >= BATCH_MAX:
            batch = self._begin(lookup)
        self._waiting += 1
        try:
            return await batch.wait(key)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Cancel the statements, and with them the lookups that still wait."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            # The driver tells the server, which may be silent.
            await asyncio.wait(tasks, timeout=CLOSING)

    def _begin(self, lookup: KeyedQuery) -> "_Batch":
        batch = _Batch()

        def values() -> Mapping[str, Any]:
            self._close(lookup, batch)
            return lookup.values(batch.keys)

        # In a context of its own: it belongs to no request, and ends with none.
        task = asyncio.get_running_loop().create_task(
            self._read(lookup.query, values), context=Context()
        )
        self._tasks.add(task)
        task.add_done_callback(partial(self._end, lookup, batch))
        self._unasked.add(batch)
        self._open[lookup] = batch
        return batch

    def _close(self, lookup: KeyedQuery, batch: "_Batch") -> None:
        self._unasked.discard(batch)
        if self._open.get(lookup) is batch:
            del self._open[lookup]

    def _end(self, lookup: KeyedQuery, batch: "_Batch", task: asyncio.Task[Rows]) -> None:
        self._tasks.discard(task)
        self._close(lookup, batch)
        batch.resolve(task)


class _Batch:
    """The lookups that one statement answers."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[Record | None], UUID] = {}
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def keys(self) -> set[UUID]:
        return set(self._waiting.values())

    async def wait(self, key: UUID) -> Record | None:
        found: asyncio.Future[Record | None] = self._loop.create_future()
        self._waiting[found] = key
        try:
            return await found
        except asyncio.CancelledError:
            self._waiting.pop(found, None)  # whoever comes next has the place
            raise
        finally:
            del found  # an error's traceback leads here; from here to the error were a cycle

    def resolve(self, task: asyncio.Task[Rows]) -> None:
        """Give each lookup that still waits its row, or the error of the statement."""
        waiting = [(found, key) for found, key in self._waiting.items() if not found.done()]
        self._waiting.clear()
        if task.cancelled():
            for found, _ in waiting:
                found.cancel()
        elif error := task.exception():
            for found, _ in waiting:
                found.set_exception(_own(error))
        else:
            rows = {row["key"]: row for row in task.result()}
            for found, key in waiting:
                found.set_result(rows.get(key))


def _own(error: BaseException) -> BaseException:
    """Return a copy of an error: handling it clears the frames that it came through."""
    own = error
    with suppress(Exception):  # not every class takes what it keeps
        own = copy(error)
        own.__cause__ = error
    return own
