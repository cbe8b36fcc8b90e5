"""Reads and writes of one statement each, every one committed with itself.

What takes an Autocommit cannot keep two statements together, and needs no BEGIN and COMMIT, which
are two round trips. What needs both of two statements or none takes a session (database.py).
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar, cast
from uuid import UUID

from service.db.batching import Batcher, Rows, Run, Shared
from service.db.query import (
    CompiledQuery,
    CompiledStatement,
    CompiledWrite,
    KeyedQuery,
    KeyedStatement,
    Record,
    SharedQuery,
    SharedStatement,
)
from service.observability import context, tracing

T = TypeVar("T")


class Autocommit:
    """Executes single statements by the driver, each on a connection that is given back at once."""

    def __init__(self, run: Run, batcher: Batcher) -> None:
        self._run = run
        self._batcher = batcher

    async def fetch_by_key(self, lookup: KeyedQuery, key: UUID) -> Record | None:
        """Read the row that has a key, if there is one, together with what others look up.

        Raises Unavailable when the database does not answer.
        """
        row, _ = await self._share(lookup, key)
        return cast(Record | None, row)

    async def fetch_all(self, query: CompiledQuery, values: Mapping[str, Any]) -> Sequence[Record]:
        """Read rows. Raises Unavailable when the database does not answer."""
        return await self._run(query, lambda: values)

    async def fetch_shared(
        self, query: CompiledQuery, values: Mapping[str, Any], make: Callable[[Rows], T]
    ) -> T:
        """Return what `make` makes of the rows, once for all that ask the same at the same time.

        Raises Unavailable when the database does not answer.
        """
        made, _ = await self._share(SharedQuery(query, values, make), None)
        return cast(T, made)

    async def fetch_one(self, query: CompiledQuery, values: Mapping[str, Any]) -> Record | None:
        """Read one row, or return None. Raises Unavailable when the database does not answer."""
        return await self._one(query, values)

    async def write(self, write: CompiledWrite, values: Mapping[str, Any]) -> Record | None:
        """Execute a write of one row at most, and return the row that it returns.

        Raises Unavailable when the database does not answer: the write may have happened.
        """
        return await self._one(write, values)

    async def write_shared(self, write: KeyedStatement[Any], item: Any) -> Record | None:
        """Execute a write of one row together with those of other requests.

        Raises Unavailable when the database does not answer: the write may have happened.
        """
        row, size = await self._share(write, item)
        if size > 1:
            context.bind("rows_in_statement", size)
        return cast(Record | None, row)

    async def _one(self, statement: CompiledStatement, values: Mapping[str, Any]) -> Record | None:
        rows = await self._run(statement, lambda: values)
        return rows[0] if rows else None

    def _share(self, statement: SharedStatement[Any], item: Any) -> Coroutine[Any, Any, Shared]:
        # Each coroutine between costs a call whenever the request goes on.
        if tracing.active():
            return self._traced(statement, item)
        return self._batcher.execute(statement, item)

    async def _traced(self, statement: SharedStatement[Any], item: Any) -> Shared:
        with tracing.statement(statement.compiled.text) as span:
            row, size = await self._batcher.execute(statement, item)
            if span is not None and size > 1:
                span.set_attribute("db.operation.batch.size", size)
            return row, size
