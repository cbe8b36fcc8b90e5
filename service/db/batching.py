"""Statements that many requests share: what is looked up, listed or written at the same time.

A loop that serves many connections finds many requests at once in its sockets. Each with a
statement of its own, on a connection of its own, costs several times as much, here and in
PostgreSQL, as one statement for all of them.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from copy import copy
from functools import partial
from typing import Any, Final

from service.db.query import CompiledStatement, Record, SharedStatement
from service.errors import Unavailable
from service.observability.histogram import Series

# Rows in a statement: with more, a row costs no less, and all of them wait for the slowest.
BATCH_MAX: Final = 100
# Characters in a statement: 1 MiB at most, because one takes at most 4 bytes in UTF-8.
CHARACTERS_MAX: Final = 262_144
# Of how many requests share a statement.
SIZE_BUCKETS: Final = (1, 2, 5, 10, 25, 50, BATCH_MAX)
CLOSING: Final = 1.0  # seconds for statements that are given up to end

Rows = Sequence[Record]
Values = Callable[[], Mapping[str, Any]]
Run = Callable[[CompiledStatement, Values], Coroutine[Any, Any, Rows]]
Statement = SharedStatement[Any]
# The result of a statement for one request, and how many requests shared it.
Shared = tuple[Any, int]


class Batcher:
    """Runs one statement for what many requests ask at the same time (the DataLoader pattern).

    `run` runs a statement, and asks for its parameters once it has a connection. Until then
    requests for the same statement join the batch: the longer connections are waited for, the fewer
    are needed. Nothing joins a statement that is under way, which may not see what was committed
    since.
    """

    def __init__(self, run: Run, max_reading: int, max_writing: int) -> None:
        self._run = run
        # Counted apart, because writes that hang must not hold up reads.
        self._max_waiting = {False: max_reading, True: max_writing}
        self._waiting = {False: 0, True: 0}
        self._open: dict[Hashable, _Batch] = {}
        self._unasked: set[_Batch] = set()
        self._tasks: dict[_Batch, asyncio.Task[Rows]] = {}
        # How many requests shared a statement that reads, and one that writes.
        self.reads: Final = Series(SIZE_BUCKETS)
        self.writes: Final = Series(SIZE_BUCKETS)

    @property
    def queued(self) -> int:
        """How many requests wait for a connection, less the first of each batch (the pool's)."""
        return sum(max(len(batch) - 1, 0) for batch in self._unasked)

    async def execute(self, statement: Statement, item: Any) -> Shared:
        """Execute a statement for an item. Raises Unavailable, or what `run` does.

        It waits as long as the first request of its batch may.
        """
        writes = not statement.compiled.reads
        if self._waiting[writes] >= self._max_waiting[writes]:
            raise Unavailable("The service is busy")
        key = statement.key
        batch = self._open.get(key)
        if batch is None or not batch.takes(item):
            batch = self._open[key] = _Batch(statement, key)
            self._start(batch)
        self._waiting[writes] += 1
        try:
            return await batch.wait(item)
        except asyncio.CancelledError:
            if not batch and not writes:
                self._abandon(batch)
            raise
        finally:
            self._waiting[writes] -= 1

    async def close(self) -> None:
        """Cancel the statements, and with them the requests that still wait."""
        tasks = set(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            # The driver asks the server to cancel, which may be silent.
            await asyncio.wait(tasks, timeout=CLOSING)

    def _start(self, batch: "_Batch") -> None:
        sizes = self.reads if batch.statement.compiled.reads else self.writes

        def values() -> Mapping[str, Any]:
            self._close(batch)
            sizes.observe(len(batch))
            return batch.send()

        # In a context of its own: it belongs to no request, and ends with none.
        task = asyncio.get_running_loop().create_task(
            self._run(batch.statement.compiled, values), context=Context()
        )
        self._tasks[batch] = task
        task.add_done_callback(partial(self._end, batch), context=Context())
        self._unasked.add(batch)

    def _abandon(self, batch: "_Batch") -> None:
        """End a statement that reads and that no request waits for any more."""
        task = self._tasks.get(batch)
        if task is None:
            return
        if batch in self._unasked:
            self._close(batch)
            task.cancel()
        else:  # sent: what ends by itself costs no connection
            asyncio.get_running_loop().call_later(CLOSING, task.cancel)

    def _close(self, batch: "_Batch") -> None:
        self._unasked.discard(batch)
        if self._open.get(batch.key) is batch:
            del self._open[batch.key]

    def _end(self, batch: "_Batch", task: asyncio.Task[Rows]) -> None:
        del self._tasks[batch]
        if batch in self._unasked:
            self._close(batch)
        for alone in batch.resolve(task):
            self._start(alone)


class _Batch:
    """The requests that one statement answers."""

    def __init__(self, statement: Statement, key: Hashable) -> None:
        self.statement = statement
        self.key = key
        self._writes = not statement.compiled.reads
        self._waiting: dict[asyncio.Future[Shared], Any] = {}
        self._characters = 0
        self._sent = 0
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        return len(self._waiting)

    def send(self) -> Mapping[str, Any]:
        """Return the parameters of the statement, to which nothing is added any more."""
        self._sent = len(self._waiting)
        return self.statement.values(list(self._waiting.values()))

    def takes(self, item: Any) -> bool:
        """Whether there is room for an item."""
        characters = self._characters + self.statement.characters(item)
        return len(self._waiting) < BATCH_MAX and characters <= CHARACTERS_MAX

    async def wait(self, item: Any) -> Shared:
        found: asyncio.Future[Shared] = self._loop.create_future()
        self._waiting[found] = item
        self._characters += self.statement.characters(item)
        try:
            return await found
        except asyncio.CancelledError:
            if self._waiting.pop(found, None) is not None:  # the next request has the place
                self._characters -= self.statement.characters(item)
            raise
        finally:
            del found  # an error's traceback leads here; from here to the error were a cycle

    def resolve(self, task: asyncio.Task[Rows]) -> "list[_Batch]":
        """Give each request that still waits its result, or the error of the statement.

        Returns a batch for each of them instead when one row may be the reason of the error.
        """
        waiting = [(found, item) for found, item in self._waiting.items() if not found.done()]
        self._waiting.clear()
        if task.cancelled():
            for found, _ in waiting:
                found.cancel()
        elif error := task.exception():
            if self._sent > 1 and self._writes and not isinstance(error, Unavailable):
                return [self._alone(found, item) for found, item in waiting]
            for found, _ in waiting:
                found.set_exception(_own(error))
        else:
            try:
                results = self.statement.results(task.result(), [item for _, item in waiting])
            except Exception as wrong:  # noqa: BLE001 - it is each request's own
                for found, _ in waiting:
                    found.set_exception(_own(wrong))
                return []
            for (found, _), result in zip(waiting, results, strict=True):
                found.set_result((result, len(waiting)))
        return []

    def _alone(self, found: asyncio.Future[Shared], item: Any) -> "_Batch":
        batch = _Batch(self.statement, self.key)
        batch._waiting[found] = item
        return batch


def _own(error: BaseException) -> BaseException:
    """Return a copy of an error: handling it clears the frames that it came through."""
    own = error
    with suppress(Exception):  # not every class takes what it keeps
        own = copy(error)
        own.__cause__ = error
    return own
