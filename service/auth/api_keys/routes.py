"""API keys, under /auth/keys."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from quart import Blueprint, Response

from service.auth.api_keys import keys
from service.auth.api_keys.keys import KeyRequest
from service.auth.api_keys.schemas import ApiKeysOut, FoundKeys, NewKey, NewKeyOut, show_key
from service.auth.errors import (
    AdminRequired,
    EmailUnverified,
    KeyLimit,
    KeyNotFound,
    StepUpRequired,
)
from service.auth.freshness import require_fresh, require_verified_email
from service.auth.guards import login_required
from service.auth.principal import caller
from service.auth.security import SECOND_FACTORS
from service.db.synchronous import require_replication
from service.web.client import origin
from service.web.db_session import autocommit, db_session
from service.web.limiter import DEFAULT
from service.web.openapi import Link, answers
from service.web.ratelimit import limit
from service.web.request_state import request_state
from service.web.responses import json_response, no_content
from service.web.validation import validate_request

blueprint: Final = Blueprint("api_keys", __name__, url_prefix="/auth/keys")

REVOKE: Final = Link(
    "RevokeApiKey", "revoke_api_key", "Revokes the key.", {"key_id": "$response.body#/id"}
)


@blueprint.post("")
@limit("KEYS")
@login_required
@validate_request(NewKey)
@answers(
    201,
    NewKeyOut,
    links=[REVOKE],
    errors=[StepUpRequired, EmailUnverified, AdminRequired, KeyLimit],
)
async def create_api_key(data: NewKey) -> Response:
    """Make an API key, which a program sends as Bearer; it is shown this once."""
    settings = request_state().app.settings
    expires_at = data.end(settings.api_key_max_age)
    security = await require_fresh()
    require_verified_email()
    second_factor = not SECOND_FACTORS.isdisjoint(security.methods)
    row, key = await keys.create_key(
        db_session(),
        caller().user_id,
        caller().claims.session_id,
        KeyRequest(data.name, data.scopes, expires_at, second_factor),
        settings.api_key_prefix,
        origin(),
    )
    location = {"Location": f"/auth/keys/{row.id}"}
    return json_response({**show_key(row), "key": key}, 201, location)


@blueprint.get("")
@limit(DEFAULT)
@login_required
@answers(200, ApiKeysOut)
async def list_api_keys() -> Response:
    """List one's own API keys, newest first; expired ones for RETENTION_DAYS."""
    retention = timedelta(days=request_state().app.settings.retention_days)
    rows = await keys.list_keys(db_session(), caller().user_id, retention)
    return json_response({"keys": [show_key(row) for row in rows]})


@blueprint.delete("/<id:key_id>")
@limit(DEFAULT)
@login_required
@answers(204, errors=[KeyNotFound])
async def revoke_api_key(key_id: UUID) -> Response:
    """Revoke one of one's own API keys."""
    await keys.revoke_key(autocommit(), caller().user_id, key_id, origin())
    return no_content()


@blueprint.delete("")
@limit(DEFAULT)
@login_required
@answers(204)
async def revoke_api_keys() -> Response:
    """Revoke all of one's own API keys."""
    user_id = caller().user_id
    revoked = await keys.revoke_keys(db_session(), user_id, user_id, origin())
    if not revoked:  # another request may have revoked them
        await require_replication(db_session())
    return no_content()


@blueprint.post("/revoke")
@limit("REVOKE")
@validate_request(FoundKeys)
@answers(204)
async def revoke_found_api_keys(data: FoundKeys) -> Response:
    """Revoke API keys that were found where they should not be; their owners are informed."""
    prefix = request_state().app.settings.api_key_prefix
    await keys.revoke_found_keys(db_session(), data.keys, prefix, origin())
    return no_content()
