"""The queries and bodies of operators' requests and responses."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, PlainSerializer

from service.audit.events import Kind
from service.auth.schemas import USER_EXAMPLE, UserOut
from service.db.base import MappedRow
from service.ids import is_id
from service.web.fields import Text
from service.web.openapi import PartialModel, SchemaKeyword, example
from service.web.pagination import CursorQuery


def _check_id(text: str) -> str:
    if not is_id(text):
        raise ValueError("must be an id")
    return text


class EventQuery(CursorQuery):
    """The events of an account, of a kind, or all."""

    user: Annotated[str, AfterValidator(_check_id), SchemaKeyword("format", "uuid")] | None = None
    kind: Kind | None = None


EVENT_EXAMPLE: Final = {
    "id": "019ab2f9-31c0-7d52-b0a4-6f1e2d3c4b5a", "kind": "login.succeeded",
    "user_id": USER_EXAMPLE["id"], "actor_id": USER_EXAMPLE["id"],
    "created_at": USER_EXAMPLE["created_at"],
    "ip": "192.0.2.1", "user_agent": "curl/8.14", "detail": {},
}  # fmt: skip


class EventOut(BaseModel):
    """A security event: what happened to an account, who did it, and from where."""

    model_config = example(EVENT_EXAMPLE)

    id: UUID
    kind: Kind
    user_id: UUID | None
    actor_id: UUID | None
    created_at: datetime
    ip: str | None
    user_agent: str | None
    detail: dict[str, object]


class EventList(BaseModel):
    """Events, newest first."""

    model_config = example({"events": [EVENT_EXAMPLE], "next_cursor": None})

    events: list[EventOut]
    next_cursor: str | None


def show_event(event: MappedRow) -> Mapping[str, object]:
    """Return a security event as operators see it."""
    columns = event._mapping
    return {name: columns[name] for name in EventOut.model_fields}


def _check_flag(value: object) -> object:
    # Pydantic's booleans also accept "1", "on" and "YES".
    if value not in ("true", "false"):
        raise ValueError("must be true or false")
    return value


# In a query, whose link to the next page has it in the same spelling.
Flag = Annotated[
    bool, BeforeValidator(_check_flag), PlainSerializer(lambda flag: str(flag).lower())
]


class AccountQuery(CursorQuery):
    """The accounts with a part in their email or username, in any case, or all.

    `second_factor` takes those whose second factor is on, or off.
    """

    q: Annotated[Text, Field(max_length=254)] | None = None
    second_factor: Flag | None = None


class AccountChange(PartialModel):
    """The changes of an account by an operator; fields left out stay as they are."""

    model_config = example({"is_active": False})

    is_active: Annotated[bool, Field(strict=True)] = False
    is_admin: Annotated[bool, Field(strict=True)] = False


ACCOUNT_EXAMPLE: Final = {
    **USER_EXAMPLE, "is_admin": False, "second_factor": True, "has_password": True,
}  # fmt: skip


class AccountOut(UserOut):
    """An account, as operators see it; `second_factor` is whether its second factor is on."""

    model_config = example(ACCOUNT_EXAMPLE)

    is_admin: bool
    second_factor: bool
    has_password: bool


class AccountList(BaseModel):
    """Accounts, newest first."""

    model_config = example({"users": [ACCOUNT_EXAMPLE], "next_cursor": None})

    users: list[AccountOut]
    next_cursor: str | None


def show_account(account: MappedRow) -> Mapping[str, object]:
    """Return an account as operators see it."""
    columns = account._mapping
    return {name: columns[name] for name in AccountOut.model_fields}
