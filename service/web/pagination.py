"""Lists: pages, cursors and the Link header.

A cursor names the last row that was shown, by (created_at, id): reading on from it costs the same
at any depth, and neither repeats nor skips a row while others write. It is signed: one that this
service did not make is refused.
"""

import hashlib
import hmac
import math
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Any, Final
from urllib.parse import urlencode
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field, ValidationInfo, field_validator
from quart import request
from sqlalchemy import ColumnElement, UnaryExpression, bindparam, tuple_

from service.db.base import Id, UtcDateTime
from service.errors import BadRequest
from service.web.request_state import request_state

PER_PAGE_MAX: Final = 100
PAGE_MAX: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_POSITION: Final = struct.Struct(">q16s")  # microseconds since the epoch, id
_SIGNATURE_BYTES: Final = 16


class InvalidCursor(BadRequest):
    """The cursor is none that this service made for this list."""

    def __init__(self) -> None:
        super().__init__(errors={"cursor": ["is not a cursor of this list"]})


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a list that is ordered by (created_at, id)."""

    created_at: datetime
    id: UUID

    @property
    def values(self) -> dict[str, object]:
        """The parameters of `follows`."""
        return {"at": self.created_at, "after_id": self.id}


def _digits(value: object) -> object:
    # Stricter than pydantic's integers, which also take "+1", "1.0" and "1_000".
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise ValueError("must be a positive integer")
    return value


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


_PAGE: Final = Field(
    ge=1,
    le=PAGE_MAX,
    description="Counted from 1; the first one when neither it nor `cursor` is given.",
    # Clients that are made from the document would send the default along with a cursor.
    json_schema_extra=_without_default,
)


class CursorQuery(BaseModel):
    """How much of a list, and from where on."""

    per_page: Annotated[int, Field(ge=1, le=PER_PAGE_MAX), BeforeValidator(_digits)] = 20
    cursor: str | None = None


class PageQuery(CursorQuery):
    """Which page of a list, or from where on."""

    page: Annotated[int, _PAGE, BeforeValidator(_digits)] = 1

    @field_validator("page")
    @classmethod
    def _one_way(cls, page: int, info: ValidationInfo) -> int:
        if info.data.get("cursor") is not None:
            raise ValueError("page and cursor exclude each other")
        return page

    @property
    def offset(self) -> int:
        """How many rows come before the page."""
        return (self.page - 1) * self.per_page


class Cursors:
    """Writes and reads the cursors of one kind of list."""

    def __init__(self, secret: str, kind: str) -> None:
        self._key = hashlib.sha256(f"cursor:{kind}:{secret}".encode()).digest()

    def write(self, row: Any) -> str:
        """Name the place of a row, by its `created_at` and `id`."""
        microseconds = (row.created_at - _EPOCH) // timedelta(microseconds=1)
        position = _POSITION.pack(microseconds, row.id.bytes)
        return _encode(position + self._sign(position))

    def read(self, cursor: str) -> Position:
        """Read a cursor. Raises InvalidCursor (400)."""
        try:
            raw = urlsafe_b64decode(cursor.encode("ascii") + b"==")
        except ValueError:
            raise InvalidCursor from None
        position, signature = raw[: _POSITION.size], raw[_POSITION.size :]
        # Base64 has many spellings of one value; only ours counts.
        if not hmac.compare_digest(signature, self._sign(position)) or _encode(raw) != cursor:
            raise InvalidCursor
        microseconds, id_ = _POSITION.unpack(position)
        return Position(_EPOCH + timedelta(microseconds=microseconds), UUID(bytes=id_))

    def _sign(self, position: bytes) -> bytes:
        return hmac.digest(self._key, position, "sha256")[:_SIGNATURE_BYTES]


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


@cache
def _cursors(secret: str, kind: str) -> Cursors:
    return Cursors(secret, kind)


def cursors(kind: str) -> Cursors:
    """The application's cursors of one kind of list."""
    return _cursors(request_state().app.settings.secret_key.get_secret_value(), kind)


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows of a list, in order, and whether more come after them."""

    rows: list[Any]
    more: bool

    @classmethod
    def cut(cls, rows: list[Any], limit: int) -> "Slice":
        """Cut what was read with one row to spare."""
        return cls(rows[:limit], len(rows) > limit)

    def next_cursor(self, kind: str) -> str | None:
        """Where to read on; None at the end."""
        return cursors(kind).write(self.rows[-1]) if self.more else None


def position(kind: str, query: CursorQuery) -> Position | None:
    """Where to read on; None at the beginning. Raises InvalidCursor (400)."""
    return None if query.cursor is None else cursors(kind).read(query.cursor)


def newest_first(model: Any) -> tuple[UnaryExpression[Any], ...]:
    """The order of every list."""
    return model.created_at.desc(), model.id.desc()


def follows(model: Any) -> ColumnElement[bool]:
    """What comes after the position whose `values` are the parameters, newest first."""
    there = tuple_(bindparam("at", type_=UtcDateTime), bindparam("after_id", type_=Id))
    return tuple_(model.created_at, model.id) < there


def count_pages(total: int, per_page: int) -> int:
    """How many pages hold that many rows."""
    return math.ceil(total / per_page)


def cursor_links(query: CursorQuery, next_cursor: str | None) -> dict[str, str]:
    """The Link header of a list that is read by cursor."""
    here = _here(query)
    links = {"first": here}
    if next_cursor:
        links["next"] = f"{here}&cursor={next_cursor}"
    return _header(links)


def page_links(query: PageQuery, pages: int, next_cursor: str | None) -> dict[str, str]:
    """The Link header of a page: `next` leads on by cursor, which does not slow down."""
    here = _here(query)
    links = {"first": f"{here}&page=1", "last": f"{here}&page={max(pages, 1)}"}
    if query.page > 1:
        links["prev"] = f"{here}&page={query.page - 1}"
    if next_cursor:
        links["next"] = f"{here}&cursor={next_cursor}"
    return _header(links)


def _here(query: CursorQuery) -> str:
    """The list's address, at no position yet."""
    filters = query.model_dump(exclude_unset=True, exclude={"page", "cursor"})
    return f"{request.path}?{urlencode({**filters, 'per_page': query.per_page})}"


def _header(links: Mapping[str, str]) -> dict[str, str]:
    # Relative references (RFC 8288, §3.1): true behind any proxy.
    return {"Link": ", ".join(f'<{target}>; rel="{rel}"' for rel, target in links.items())}
