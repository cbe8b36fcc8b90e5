"""The session of safe methods: each statement on a connection of its own, given back at once.

What many requests ask is a CompiledQuery: a SELECT that is compiled once and then handed to the
driver, at a third of the CPU time that SQLAlchemy's way to execute it takes. What many ask at once,
the same or by a key each, is one statement for all of them (batching.py).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast
from uuid import UUID

from sqlalchemy import CursorResult, Engine, Executable
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from service.db.autocommit import Autocommit
from service.db.base import AnyRow
from service.db.pool import READING
from service.db.query import CompiledQuery, KeyedQuery, Record

Make = Callable[[Sequence[Any]], Any]
FetchShared = Callable[[CompiledQuery, Mapping[str, Any], Make], Awaitable[Any]]
T = TypeVar("T")
FetchByKey = Callable[[KeyedQuery, UUID], Awaitable[Record | None]]


class ReadSession(AsyncSession):
    """A session that only reads columns, in autocommit.

    No transaction spans its statements, so that none needs to keep the connection of another:
    taking, asking and giving back is one step.
    """

    def __init__(
        self,
        *args: Any,
        fetch_shared: FetchShared,
        fetch_by_key: FetchByKey,
        idle: "set[ReadSession]",
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.fetch_shared = fetch_shared
        self.fetch_by_key = fetch_by_key
        self._idle = idle

    async def execute(  # type: ignore[override]
        self, statement: Executable, params: Any = None
    ) -> CursorResult[Any]:
        """Execute a statement; its rows are read whole."""
        return await self.run_sync(_execute, statement, params)

    async def close(self) -> None:
        """Release what other ways to execute, such as `scalar`, have acquired.

        A closed session is as good as new: the next request may have it.
        """
        if self.in_transaction():
            await super().close()
        self._idle.add(self)


async def fetch_shared(
    session: AsyncSession,
    query: CompiledQuery,
    values: Mapping[str, Any],
    make: Callable[[Sequence[AnyRow]], T],
) -> T:
    """Return what `make` makes of a query's rows, read in the session's transaction if it has one.

    Without one, all that ask the same at the same time share it, so that nobody may change it.
    """
    if isinstance(session, ReadSession):
        return cast(T, await session.fetch_shared(query, values, make))
    return make((await session.execute(query.statement, values)).all())


async def fetch_all(
    session: AsyncSession, query: CompiledQuery, values: Mapping[str, Any]
) -> Sequence[AnyRow]:
    """Return the rows of a query, as `fetch_shared` reads them."""
    return await fetch_shared(session, query, values, tuple)


async def fetch_by_key(
    session: AsyncSession | Autocommit, lookup: KeyedQuery, key: UUID
) -> AnyRow | None:
    """Return the row that has a key, or None, read in the session's transaction if it has one."""
    if isinstance(session, ReadSession | Autocommit):
        return await session.fetch_by_key(lookup, key)
    return (await session.execute(lookup.compiled.statement, lookup.values([key]))).one_or_none()


def _execute(session: Session, statement: Executable, params: Any) -> CursorResult[Any]:
    token = READING.set(True)
    try:
        connecting = cast(Engine, session.get_bind()).connect()
    finally:
        READING.reset(token)
    with connecting as connection:
        return connection.execute(statement, params)
