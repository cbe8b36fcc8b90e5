"""The API key of a request and its account, looked up for each request."""

from datetime import datetime
from typing import Final, Protocol, cast
from uuid import UUID

from sqlalchemy import Table, select

from service.auth.api_keys.models import ApiKey
from service.auth.credentials import COLUMNS
from service.auth.models import User
from service.auth.rows import UserRow
from service.db.query import KeyedQuery

_table: Final = cast(Table, ApiKey.__table__)
_keys: Final = _table.c
_users: Final = cast(Table, User.__table__).c


class KeyRow(UserRow, Protocol):
    """An API key with its account, whose id is `id`."""

    @property
    def key_id(self) -> UUID: ...
    @property
    def digest(self) -> bytes: ...
    @property
    def scopes(self) -> list[str]: ...
    @property
    def expires_at(self) -> datetime | None: ...
    @property
    def second_factor(self) -> bool: ...
    @property
    def deleted_at(self) -> datetime | None: ...


BY_LOOKUP: Final = KeyedQuery(
    select(
        *COLUMNS,
        _users.deleted_at,
        _keys.id.label("key_id"),
        _keys.digest,
        _keys.scopes,
        _keys.expires_at,
        _keys.second_factor,
    ).join_from(_table, User.__table__, _users.id == _keys.user_id),
    _keys.lookup,
)
