"""Pagination of lists by pages and by cursors, and the Link header.

A cursor is the position of the last row of a page, by (created_at, id). The next page costs the
same at any depth, and rows that are written meanwhile make it neither repeat nor skip a row. A
cursor is signed, so that only this service's own are accepted.
"""

import hashlib
import hmac
import math
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Any, Final, TypeVar, cast
from urllib.parse import urlencode
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field, ValidationInfo, field_validator
from quart import request
from sqlalchemy import ColumnElement, UnaryExpression, bindparam, tuple_

from service.db.base import AnyRow, Id, UtcDateTime
from service.errors import BadRequest
from service.web.openapi import Link
from service.web.request_state import request_state

T = TypeVar("T")

PER_PAGE_MAX: Final = 100
PAGE_MAX: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_POSITION: Final = struct.Struct(">q16s")  # microseconds since the epoch, id
_SIGNATURE_BYTES: Final = 16


class InvalidCursor(BadRequest):
    """The cursor is not one of this list."""

    def __init__(self) -> None:
        super().__init__(errors={"cursor": ["must be a cursor of this list"]})


@dataclass(frozen=True, slots=True)
class Position:
    """A position in a list that is ordered by (created_at, id)."""

    created_at: datetime
    id: UUID

    @property
    def values(self) -> dict[str, object]:
        """The parameters of `follows`."""
        return {"at": self.created_at, "after_id": self.id}

    @property
    def number(self) -> int:
        """The id in a list whose ids are numbers."""
        return self.id.int


def _check_digits(value: object) -> object:
    # Pydantic's integers also accept "+1", "1.0" and "1_000".
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise ValueError("must be a positive integer")
    return value


def _hide_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


_PAGE: Final = Field(
    ge=1,
    le=PAGE_MAX,
    description="Counted from 1; the first one when neither it nor `cursor` is given.",
    # Clients generated from the document would send the default together with a cursor.
    json_schema_extra=_hide_default,
)


def next_page(operation_id: str) -> Link:
    """Return the link from a list's response to its next page."""
    return Link(
        "NextPage",
        operation_id,
        "The rows after these; at the end of the list `next_cursor` is null and there are none.",
        {"cursor": "$response.body#/next_cursor"},
    )


class CursorQuery(BaseModel):
    """The size of a page, and the cursor that it follows."""

    per_page: Annotated[int, Field(ge=1, le=PER_PAGE_MAX), BeforeValidator(_check_digits)] = 20
    cursor: str | None = None


class PageQuery(CursorQuery):
    """The number and size of a page, or the cursor that it follows."""

    page: Annotated[int, _PAGE, BeforeValidator(_check_digits)] = 1

    @field_validator("page")
    @classmethod
    def _refuse_both(cls, page: int, info: ValidationInfo) -> int:
        if info.data.get("cursor") is not None:
            raise ValueError("must not be sent together with a cursor")
        return page

    @property
    def offset(self) -> int:
        """The number of rows before the page."""
        return (self.page - 1) * self.per_page


class Cursors:
    """The signed cursors of one kind of list."""

    def __init__(self, secret: str, kind: str) -> None:
        self._key = hashlib.sha256(f"cursor:{kind}:{secret}".encode()).digest()

    def write(self, row: AnyRow) -> str:
        """Return the cursor of a row, made of its `created_at` and `id`, a UUID or a number."""
        microseconds = (row.created_at - _EPOCH) // timedelta(microseconds=1)
        id_ = row.id if isinstance(row.id, UUID) else UUID(int=row.id)
        position = _POSITION.pack(microseconds, id_.bytes)
        return _encode(position + self._sign(position))

    def read(self, cursor: str) -> Position:
        """Return the position of a cursor. Raises InvalidCursor (400)."""
        try:
            raw = urlsafe_b64decode(cursor.encode("ascii") + b"==")
        except ValueError:
            raise InvalidCursor from None
        position, signature = raw[: _POSITION.size], raw[_POSITION.size :]
        # Several base64 texts decode to the same bytes; only the one that `write` returns is valid.
        if not hmac.compare_digest(signature, self._sign(position)) or _encode(raw) != cursor:
            raise InvalidCursor
        microseconds, id_ = _POSITION.unpack(position)
        return Position(_EPOCH + timedelta(microseconds=microseconds), UUID(bytes=id_))

    def _sign(self, position: bytes) -> bytes:
        return hmac.digest(self._key, position, "sha256")[:_SIGNATURE_BYTES]


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


_cursors: Final = cache(Cursors)


def cursors(kind: str) -> Cursors:
    """Return the application's cursors of one kind of list."""
    return _cursors(request_state().app.settings.secret_key.get_secret_value(), kind)


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows of a list, in order, and whether more rows follow."""

    rows: Sequence[AnyRow]
    more: bool
    _made: dict[Hashable, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def cut(cls, rows: Sequence[AnyRow], limit: int) -> "Slice":
        """Return the first `limit` of the rows, of which one more was read."""
        return cls(rows[:limit], len(rows) > limit)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` returned for the first request with this key that has this slice.

        Requests that ask the same at the same time share a slice, and what is made of it.
        """
        if key not in self._made:
            self._made[key] = make()
        return cast(T, self._made[key])

    def next_cursor(self, kind: str) -> str | None:
        """Return the cursor of the last row, or None at the end of the list."""
        return cursors(kind).write(self.rows[-1]) if self.more else None


def position(kind: str, query: CursorQuery) -> Position | None:
    """Return the position of the query's cursor, or None. Raises InvalidCursor (400)."""
    return None if query.cursor is None else cursors(kind).read(query.cursor)


def newest_first(model: Any) -> tuple[UnaryExpression[Any], ...]:
    """Return the ORDER BY of every list."""
    return model.created_at.desc(), model.id.desc()


def follows(model: Any) -> ColumnElement[bool]:
    """Return the condition for rows after a position, whose `values` are the parameters."""
    position = tuple_(bindparam("at", type_=UtcDateTime), bindparam("after_id", type_=Id))
    return tuple_(model.created_at, model.id) < position


def count_pages(total: int, per_page: int) -> int:
    """Return the number of pages."""
    return math.ceil(total / per_page)


def cursor_links(query: CursorQuery, next_cursor: str | None) -> dict[str, str]:
    """Return the Link header of a list by cursor."""
    url = _list_url(query)
    return _link_header({"first": url}, url, next_cursor)


def page_links(query: PageQuery, pages: int, next_cursor: str | None) -> dict[str, str]:
    """Return the Link header of a page; `next` is by cursor, which costs the same at any depth."""
    url = _list_url(query)
    links = {"first": f"{url}&page=1", "last": f"{url}&page={max(pages, 1)}"}
    if query.page > 1:
        links["prev"] = f"{url}&page={query.page - 1}"
    return _link_header(links, url, next_cursor)


def _list_url(query: CursorQuery) -> str:
    """Return the URL of the list without a position."""
    filters = query.model_dump(exclude_unset=True, exclude={"page", "cursor"})
    return f"{request.path}?{urlencode({**filters, 'per_page': query.per_page})}"


def _link_header(links: dict[str, str], url: str, next_cursor: str | None) -> dict[str, str]:
    if next_cursor:
        links["next"] = f"{url}&cursor={next_cursor}"
    # Relative references (RFC 8288, §3.1), which are right behind any proxy.
    return {"Link": ", ".join(f'<{target}>; rel="{rel}"' for rel, target in links.items())}
