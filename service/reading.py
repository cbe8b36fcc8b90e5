"""The session of safe methods: each statement on a connection of its own, given back at once.

What many requests ask is a Query: a SELECT that is compiled once and then handed to the driver,
at a third of the CPU time that SQLAlchemy's way to execute it takes. What they ask by a key is a
Lookup, which loader.py answers for many at once.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

import asyncpg
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    CursorResult,
    Engine,
    Executable,
    Select,
    Text,
    Uuid,
    bindparam,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy import cast as sql_cast
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


class Lookup:
    """A SELECT made once, of rows that a key tells apart; each row says its own as `key`.

    Its statement takes many keys and looks up each as if it were alone: of a table without
    statistics the planner might else read another index whole. Their number is hidden from it, in
    a subselect, so that it keeps one plan for all. They are sent as text, for the driver asks each
    new connection what an array of UUIDs is, in three statements.
    """

    def __init__(self, statement: Select[*tuple[Any, ...]], key: ColumnElement[UUID]) -> None:
        sent = select(bindparam("keys", type_=ARRAY(Text))).scalar_subquery()
        keys = func.unnest(sql_cast(sent, ARRAY(Uuid(as_uuid=True))))
        sought = keys.table_valued("key").render_derived("sought")
        one = statement.where(key == sought.c.key).limit(literal_column("1")).lateral("one")
        self.query = Query(select(*one.c, sought.c.key).join_from(sought, one, true()))

    @staticmethod
    def values(keys: Iterable[UUID]) -> Mapping[str, Any]:
        """The parameters of the statement, of different keys."""
        return {"keys": [key.hex for key in keys]}


Fetch = Callable[[Query, Mapping[str, Any]], Awaitable[Sequence[Record]]]
Load = Callable[[Lookup, UUID], Awaitable[Record | None]]


class ReadingSession(AsyncSession):
    """A session that only reads columns, in autocommit.

    No transaction spans its statements, so that none needs to keep the connection of another:
    taking, asking and giving back is one step.
    """

    def __init__(
        self, *args: Any, fetch: Fetch, load: Load, idle: "set[ReadingSession]", **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.fetch = fetch
        self.load = load
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


async def look_up(session: AsyncSession, lookup: Lookup, key: UUID) -> Any | None:
    """Read the row that has a key, if there is one, in the session's transaction if it has one."""
    if isinstance(session, ReadingSession):
        return await session.load(lookup, key)
    return (await session.execute(lookup.query.statement, lookup.values([key]))).one_or_none()


def _execute(session: Session, statement: Executable, params: Any) -> CursorResult[Any]:
    with cast(Engine, session.get_bind()).connect() as connection:
        return connection.execute(statement, params)
