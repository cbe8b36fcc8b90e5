"""What operators ask of the events, and see."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel

from service.audit.events import Kind
from service.ids import parse_id
from service.web.pagination import CursorQuery


def _check_id(text: str) -> str:
    if parse_id(text) is None:
        raise ValueError("must be an id")
    return text


class EventQuery(CursorQuery):
    """Which events: of an account, of a kind."""

    user: Annotated[str, AfterValidator(_check_id)] | None = None
    kind: Kind | None = None


class EventOut(BaseModel):
    """What happened to an account, who did it, and from where."""

    id: UUID
    kind: Kind
    user_id: UUID | None
    actor_id: UUID | None
    created_at: datetime
    ip: str | None
    user_agent: str | None
    detail: dict[str, Any]


class EventList(BaseModel):
    """Events, newest first."""

    events: list[EventOut]
    next_cursor: str | None


def show_event(event: Any) -> Mapping[str, object]:
    """Show a row of an event."""
    return {
        "id": event.id,
        "kind": event.kind,
        "user_id": event.user_id,
        "actor_id": event.actor_id,
        "created_at": event.created_at,
        "ip": event.ip,
        "user_agent": event.user_agent,
        "detail": event.detail,
    }
