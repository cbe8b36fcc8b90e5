"""The security events for operators, under /admin/events."""

from typing import Final

from quart import Blueprint, Response

from service.admin.schemas import EventList, EventQuery, show_event
from service.audit import events
from service.auth.guards import admin_required
from service.ids import parse_id
from service.web.db_session import db_session
from service.web.openapi import answers
from service.web.openapi.headers import LINK
from service.web.pagination import InvalidCursor, cursor_links, next_page, position
from service.web.ratelimit import limit
from service.web.responses import json_response
from service.web.validation import validate_querystring

blueprint: Final = Blueprint("admin_events", __name__, url_prefix="/admin/events")

CURSORS: Final = "events"


@blueprint.get("")
@limit("ADMIN")
@admin_required
@validate_querystring(EventQuery)
@answers(200, EventList, headers=[LINK], links=[next_page("list_events")], errors=[InvalidCursor])
async def list_events(query_args: EventQuery) -> Response:
    """List security events, newest first."""
    page = await events.list_events(
        db_session(),
        user_id=parse_id(query_args.user),
        kind=query_args.kind,
        limit=query_args.per_page,
        after=position(CURSORS, query_args),
    )
    next_cursor = page.next_cursor(CURSORS)
    payload = {"events": [show_event(row) for row in page.rows], "next_cursor": next_cursor}
    return json_response(payload, headers=cursor_links(query_args, next_cursor))
