"""Rows looked up by their keys: those that requests ask for at the same time, by one statement.

A loop that serves many connections finds many requests at once in its sockets. Each with a
statement of its own, on a connection of its own, costs several times as much, here and in
PostgreSQL, as one statement for all of them.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import Context
from functools import partial
from typing import Any, Final
from uuid import UUID

from service.errors import Unavailable
from service.reading import Lookup, Query, Record

# Keys in a statement: with more, a row costs no less, and all of them wait for the slowest.
MOST_TOGETHER: Final = 100

Rows = Sequence[Record]
Fetch = Callable[[Query, Callable[[], Mapping[str, Any]]], Coroutine[Any, Any, Rows]]


class Lookups:
    """Looks rows up for many, of whom only so many may wait.

    `fetch` reads rows; it asks for the parameters once it has a connection. Until then whoever
    looks up a row of the same kind joins in: the longer connections are waited for, the fewer are
    needed.
    """

    def __init__(self, fetch: Fetch, most_waiting: int) -> None:
        self._fetch = fetch
        self._most_waiting = most_waiting
        self._waiting = 0
        self._open: dict[Lookup, _Together] = {}
        self._unasked: set[_Together] = set()
        self._tasks: set[asyncio.Task[Rows]] = set()

    @property
    def joined(self) -> int:
        """How many wait for a connection together with another, which waits for it in the pool."""
        return sum(len(together) - 1 for together in self._unasked)

    async def find(self, lookup: Lookup, key: UUID) -> Record | None:
        """Find the row that has the key. Raises Unavailable, or what `fetch` does."""
        if self._waiting >= self._most_waiting:
            raise Unavailable("The service is busy")
        together = self._open.get(lookup)
        if together is None or len(together) == MOST_TOGETHER:
            together = self._begin(lookup)
        self._waiting += 1
        try:
            return await together.join(key)
        finally:
            self._waiting -= 1

    def _begin(self, lookup: Lookup) -> "_Together":
        together = self._open[lookup] = _Together()
        self._unasked.add(together)

        def keys() -> Mapping[str, Any]:
            self._close(lookup, together)
            return lookup.values(together.keys)

        # In a context of its own: it belongs to no request, and ends with none.
        task = asyncio.get_running_loop().create_task(
            self._fetch(lookup.query, keys), context=Context()
        )
        self._tasks.add(task)
        task.add_done_callback(partial(self._end, lookup, together))
        return together

    def _close(self, lookup: Lookup, together: "_Together") -> None:
        self._unasked.discard(together)
        if self._open.get(lookup) is together:
            del self._open[lookup]

    def _end(self, lookup: Lookup, together: "_Together", task: asyncio.Task[Rows]) -> None:
        self._tasks.discard(task)
        self._close(lookup, together)
        together.answer(task)


class _Together:
    """Those who wait for rows of one statement."""

    def __init__(self) -> None:
        self._waiting: list[tuple[UUID, asyncio.Future[Record | None]]] = []
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def keys(self) -> list[UUID]:
        return [key for key, _ in self._waiting]

    def join(self, key: UUID) -> asyncio.Future[Record | None]:
        found: asyncio.Future[Record | None] = self._loop.create_future()
        self._waiting.append((key, found))
        return found

    def answer(self, task: asyncio.Task[Rows]) -> None:
        """Hand out what the statement came to; who has left needs nothing."""
        waiting = [(key, found) for key, found in self._waiting if not found.done()]
        self._waiting.clear()  # from an error's traceback and back to it would be a cycle
        if task.cancelled():
            for _, found in waiting:
                found.cancel()
        elif error := task.exception():
            for _, found in waiting:
                found.set_exception(error)
        else:
            rows = {row["key"]: row for row in task.result()}
            for key, found in waiting:
                found.set_result(rows.get(key))
