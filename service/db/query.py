"""SELECTs that are compiled once and handed to the driver."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import (
    ARRAY,
    ColumnElement,
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


class CompiledQuery:
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


class KeyedQuery:
    """A SELECT made once, of rows that have a unique key, returned in the column `key`.

    The statement takes many keys and looks up each as if it were alone: of a table without
    statistics the planner might otherwise read another index whole. A subselect hides the number
    of keys from the planner, which then keeps one plan for all. Keys are sent as text, because the
    driver asks each new connection what an array of UUIDs is, in three statements.
    """

    def __init__(self, statement: Select[*tuple[Any, ...]], key: ColumnElement[UUID]) -> None:
        sent = select(bindparam("keys", type_=ARRAY(Text))).scalar_subquery()
        keys = func.unnest(sql_cast(sent, ARRAY(Uuid(as_uuid=True))))
        sought = keys.table_valued("key").render_derived("sought")
        one = statement.where(key == sought.c.key).limit(literal_column("1")).lateral("one")
        self.query = CompiledQuery(select(*one.c, sought.c.key).join_from(sought, one, true()))

    @staticmethod
    def values(keys: Iterable[UUID]) -> Mapping[str, Any]:
        """The parameters of the statement, of different keys."""
        return {"keys": [key.hex for key in keys]}
