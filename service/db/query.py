"""Statements that are compiled once and handed to the driver."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar
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
Keyed = TypeVar("Keyed")


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


class SharedStatement(Protocol[Item]):
    """A statement for many items, with a result for each; equal ones have the same `key`."""

    @property
    def key(self) -> Hashable: ...
    @property
    def compiled(self) -> CompiledStatement: ...
    def values(self, items: Sequence[Item]) -> Mapping[str, Any]: ...
    def results(self, rows: Sequence[Record], items: Sequence[Item]) -> Sequence[Any]: ...
    def characters(self, item: Item) -> int: ...


class KeyedStatement(ABC, Generic[Keyed]):
    """A statement for many items, each with a unique key, returned in the column `key`."""

    compiled: CompiledStatement

    def __init__(self) -> None:
        self.key: Hashable = self  # because a statement is made once

    @abstractmethod
    def values(self, items: Sequence[Keyed]) -> Mapping[str, Any]:
        """Return the parameters of the statement."""

    @abstractmethod
    def key_of(self, item: Keyed) -> UUID:
        """Return the key of an item."""

    @abstractmethod
    def characters(self, item: Keyed) -> int:
        """Return how many characters an item adds to the parameters."""

    def results(self, rows: Sequence[Record], items: Sequence[Keyed]) -> list[Record | None]:
        """Return the row of each item, or None."""
        found = {row["key"]: row for row in rows}
        return [found.get(self.key_of(item)) for item in items]


class SharedQuery:
    """A SELECT with its parameters, whose answer is shared by those who ask it at the same time.

    `make` makes the answer from the rows. Raises TypeError for a parameter that has no hash.
    """

    __slots__ = ("_make", "_parameters", "compiled", "key")

    def __init__(
        self,
        compiled: CompiledQuery,
        parameters: Mapping[str, Any],
        make: Callable[[Sequence[Record]], Any],
    ) -> None:
        self.compiled = compiled
        self.key: Hashable = (compiled, *parameters.items())
        self._parameters = parameters
        self._make = make

    def values(self, _items: Sequence[None]) -> Mapping[str, Any]:
        """Return the parameters of the statement."""
        return self._parameters

    def results(self, rows: Sequence[Record], items: Sequence[None]) -> list[Any]:
        """Return the one answer for each."""
        return [self._make(rows)] * len(items)

    def characters(self, _item: None) -> int:
        """Return 0, because nothing is added for a further request."""
        return 0


class KeyedQuery(KeyedStatement[UUID]):
    """A SELECT made once, of rows that have a unique key, returned in the column `key`.

    The statement takes many keys and looks up each as if it were alone: of a table without
    statistics the planner might otherwise read another index whole. A subselect hides the number
    of keys from the planner, which then keeps one plan for all. Keys are sent as text, because the
    driver asks each new connection what an array of UUIDs is, in three statements.
    """

    def __init__(self, statement: Select[*tuple[Any, ...]], key: ColumnElement[UUID]) -> None:
        keys = func.unnest(sent_as_text("keys", Uuid(as_uuid=True)))
        sought = keys.table_valued("key").render_derived("sought")
        super().__init__()
        one = statement.where(key == sought.c.key).limit(literal_column("1")).lateral("one")
        self.compiled = CompiledQuery(select(*one.c, sought.c.key).join_from(sought, one, true()))

    def values(self, items: Iterable[UUID]) -> Mapping[str, Any]:
        """Return the parameters of the statement."""
        return {"keys": [key.hex for key in dict.fromkeys(items)]}

    def key_of(self, item: UUID) -> UUID:
        """Return the key, which is all that is asked with."""
        return item

    def characters(self, _item: UUID) -> int:
        """Return 0, because keys are short."""
        return 0


def sent_as_text(name: str, type_: TypeEngine[Any]) -> ColumnElement[Any]:
    """Return an array parameter that is sent as text and read as another type."""
    sent = select(bindparam(name, type_=ARRAY(Text))).scalar_subquery()
    return sql_cast(sent, ARRAY(type_))
