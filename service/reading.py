"""The session of safe methods: each statement on a connection of its own, given back at once.

What many requests ask is a Query: a SELECT that is compiled once and then handed to the driver,
at a third of the CPU time that SQLAlchemy's way to execute it takes.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import asyncpg
from sqlalchemy import CursorResult, Engine, Executable, Select
from sqlalchemy.dialects.postgresql import asyncpg as dialects
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session


class Record(asyncpg.Record):
    """A row as the driver has it; its columns are attributes, too."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        """Read a column by its name."""
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Query:
    """A SELECT made once, of columns that the driver reads as they are meant: no JSON, no enums."""

    def __init__(self, statement: Select[*tuple[Any, ...]]) -> None:
        compiled = statement.compile(dialect=dialects.dialect())  # type: ignore[no-untyped-call]
        self.statement = statement
        self.text: str = compiled.string
        self._names: Sequence[str] = tuple(compiled.positiontup or ())
        self._constants: Mapping[str, Any] = compiled.params

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """Put parameters in the order of the text."""
        constants = self._constants
        return [values[name] if name in values else constants[name] for name in self._names]


Fetch = Callable[[Query, Mapping[str, Any]], Awaitable[Sequence[Record]]]


class ReadingSession(AsyncSession):
    """A session that only reads columns, in autocommit.

    No transaction spans its statements, so that none needs to keep the connection of another:
    taking, asking and giving back is one step.
    """

    def __init__(
        self, *args: Any, fetch: Fetch, idle: "set[ReadingSession]", **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.fetch = fetch
        self._idle = idle

    async def execute(  # type: ignore[override]
        self, statement: Executable, params: Any = None
    ) -> CursorResult[Any]:
        """Execute a statement; its rows are read whole."""
        return await self.run_sync(_execute, statement, params)

    async def close(self) -> None:
        """Give back what other ways to execute, such as `scalar`, have taken.

        Closed, it is as new: the next request may have it.
        """
        if self.in_transaction():
            await super().close()
        self._idle.add(self)


async def fetch(session: AsyncSession, query: Query, values: Mapping[str, Any]) -> Sequence[Any]:
    """Read rows, in the session's transaction when it has one."""
    if isinstance(session, ReadingSession):
        return await session.fetch(query, values)
    return (await session.execute(query.statement, values)).all()


async def fetch_one(session: AsyncSession, query: Query, values: Mapping[str, Any]) -> Any | None:
    """Read the one row that there may be."""
    rows = await fetch(session, query, values)
    return rows[0] if rows else None


def _execute(session: Session, statement: Executable, params: Any) -> CursorResult[Any]:
    with cast(Engine, session.get_bind()).connect() as connection:
        return connection.execute(statement, params)
