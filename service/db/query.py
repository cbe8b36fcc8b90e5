"""Statements that are compiled once and handed to the driver."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar
from uuid import UUID

import asyncpg
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Text,
    TextClause,
    Uuid,
    bindparam,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import asyncpg as dialects
from sqlalchemy.sql.dml import ReturningDelete, ReturningInsert, ReturningUpdate
from sqlalchemy.types import TypeEngine

AnyRows = tuple[Any, ...]
AnyStatement = (
    Select[*AnyRows]
    | TextClause
    | ReturningInsert[*AnyRows]
    | ReturningUpdate[*AnyRows]
    | ReturningDelete[*AnyRows]
)
Item = TypeVar("Item", contravariant=True)


class Record(asyncpg.Record):
    """A row of the driver, whose columns can be read as those of a SQLAlchemy row."""

    __slots__ = ()

    @property
    def _mapping(self) -> "Mapping[str, Any]":
        return self  # type: ignore[return-value]

    def __getattr__(self, name: str) -> Any:
        """Read a column by its name."""
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class CompiledStatement:
    """A statement made once, of columns that the driver reads as they are meant: no JSON, no enums.

    Whether it only reads decides which connections of the pool it may use.
    """

    reads: ClassVar[bool]

    def __init__(self, statement: AnyStatement) -> None:
        compiled = statement.compile(dialect=dialects.dialect())  # type: ignore[no-untyped-call]
        self.statement = statement
        self.text: str = compiled.string
        self._names: Sequence[str] = tuple(compiled.positiontup or ())
        self._constants: Mapping[str, Any] = compiled.params

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """Put parameters in the order of the text."""
        constants = self._constants
        return [values[name] if name in values else constants[name] for name in self._names]


class CompiledQuery(CompiledStatement):
    """A SELECT made once."""

    reads = True


class CompiledWrite(CompiledStatement):
    """A statement made once that writes, and returns rows."""

    reads = False


class KeyedStatement(Protocol[Item]):
    """A statement for many items, each with a unique key, returned in the column `key`."""

    @property
    def compiled(self) -> CompiledStatement: ...
    def values(self, items: Sequence[Item]) -> Mapping[str, Any]: ...
    def key_of(self, item: Item) -> UUID: ...
    def characters(self, item: Item) -> int: ...


class KeyedQuery:
    """A SELECT made once, of rows that have a unique key, returned in the column `key`.

    The statement takes many keys and looks up each as if it were alone: of a table without
    statistics the planner might otherwise read another index whole. A subselect hides the number
    of keys from the planner, which then keeps one plan for all. Keys are sent as text, because the
    driver asks each new connection what an array of UUIDs is, in three statements.
    """

    def __init__(self, statement: Select[*tuple[Any, ...]], key: ColumnElement[UUID]) -> None:
        keys = func.unnest(sent_as_text("keys", Uuid(as_uuid=True)))
        sought = keys.table_valued("key").render_derived("sought")
        one = statement.where(key == sought.c.key).limit(literal_column("1")).lateral("one")
        self.compiled: CompiledStatement = CompiledQuery(
            select(*one.c, sought.c.key).join_from(sought, one, true())
        )

    @staticmethod
    def values(items: Iterable[UUID]) -> Mapping[str, Any]:
        """The parameters of the statement."""
        return {"keys": [key.hex for key in dict.fromkeys(items)]}

    @staticmethod
    def key_of(item: UUID) -> UUID:
        return item

    @staticmethod
    def characters(_item: UUID) -> int:
        return 0


def sent_as_text(name: str, type_: TypeEngine[Any]) -> ColumnElement[Any]:
    """Return an array parameter that is sent as text and read as another type."""
    sent = select(bindparam(name, type_=ARRAY(Text))).scalar_subquery()
    return sql_cast(sent, ARRAY(type_))
