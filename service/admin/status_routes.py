"""The state of the service for operators, under /admin/status."""

from typing import Final

from quart import Blueprint, Response

from service.admin.status import read_status
from service.admin.status_schemas import StatusOut
from service.auth.guards import admin_required
from service.web.openapi import answers
from service.web.ratelimit import limit
from service.web.request_state import request_state
from service.web.responses import json_response

blueprint: Final = Blueprint("admin_status", __name__, url_prefix="/admin/status")


@blueprint.get("")
@limit("ADMIN")
@admin_required
@answers(200, StatusOut)
async def show_status() -> Response:
    """Show the state of the process that answers, also when it is not ready.

    While the database does not answer at all, the caller cannot be known either: 503.
    """
    return json_response(await read_status(request_state().app))
