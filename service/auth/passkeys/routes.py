"""One's own passkeys, under /auth/passkeys."""

from typing import Final
from uuid import UUID

from quart import Blueprint, Response

from service.auth.errors import EmailUnverified, LastLoginMethod, StepUpRequired
from service.auth.freshness import require_fresh, require_verified_email
from service.auth.guards import login_required
from service.auth.passkeys import passkeys, schemas
from service.auth.passkeys.challenges import session_binding
from service.auth.passkeys.component import challenges, relying_party
from service.auth.passkeys.errors import (
    PasskeyExists,
    PasskeyNotFound,
    PasskeyRefused,
    PasskeysOff,
    TooManyPasskeys,
)
from service.auth.passkeys.options import creation_options
from service.auth.passkeys.queries import find_credential_ids
from service.auth.principal import caller
from service.web.client import origin
from service.web.db_session import db_session
from service.web.limiter import DEFAULT
from service.web.openapi import answers
from service.web.ratelimit import limit
from service.web.responses import json_response, no_content
from service.web.validation import validate_request

blueprint: Final = Blueprint("passkeys", __name__, url_prefix="/auth/passkeys")


@blueprint.post("/options")
@limit("BEGIN")
@login_required
@validate_request(schemas.PasskeyOptionsIn)
@answers(
    200,
    schemas.CreationOptionsOut,
    errors=[StepUpRequired, EmailUnverified, PasskeysOff, TooManyPasskeys],
)
async def begin_passkey(data: schemas.PasskeyOptionsIn) -> Response:
    """Return the options for a new passkey, good for this session and 10 minutes.

    A `security_key` is a second factor only. Needs a fresh session (`step_up_required`) and a
    verified address (`email_unverified`).
    """
    party = relying_party()
    security = await require_fresh()
    require_verified_email()
    user_id = caller().user_id
    await passkeys.require_room(db_session(), user_id)
    known = await find_credential_ids(db_session(), user_id, party.id)
    binding = session_binding(caller().claims.session_id, security.sign_in_epoch)
    challenge = challenges().issue(passkeys.PURPOSES[data.kind], binding)
    return json_response(creation_options(party, challenge, caller().account, data.kind, known))


@blueprint.post("")
@limit(DEFAULT)
@login_required
@validate_request(schemas.PasskeyIn)
@answers(
    201, schemas.PasskeyOut, errors=[PasskeyRefused, PasskeysOff, PasskeyExists, TooManyPasskeys]
)
async def add_passkey(data: schemas.PasskeyIn) -> Response:
    """Add the credential that the browser made of the options, in the session that asked."""
    row = await passkeys.add_passkey(
        db_session(),
        challenges(),
        relying_party(),
        caller().claims,
        data.credential,
        data.name,
        origin(),
    )
    return json_response(dict(row._mapping), 201, {"Location": f"/auth/passkeys/{row.id}"})


@blueprint.get("")
@limit(DEFAULT)
@login_required
@answers(200, schemas.PasskeysOut)
async def list_passkeys() -> Response:
    """List one's own passkeys, newest first."""
    rows = await passkeys.list_passkeys(db_session(), caller().user_id)
    return json_response({"passkeys": [dict(row._mapping) for row in rows]})


@blueprint.patch("/<id:passkey_id>")
@limit(DEFAULT)
@login_required
@validate_request(schemas.PasskeyName)
@answers(200, schemas.PasskeyOut, errors=[PasskeyNotFound])
async def rename_passkey(passkey_id: UUID, data: schemas.PasskeyName) -> Response:
    """Give one of one's own passkeys another name."""
    row = await passkeys.rename_passkey(db_session(), caller().user_id, passkey_id, data.name)
    return json_response(dict(row._mapping))


@blueprint.delete("/<id:passkey_id>")
@limit(DEFAULT)
@login_required
@answers(204, errors=[StepUpRequired, PasskeyNotFound, LastLoginMethod])
async def remove_passkey(passkey_id: UUID) -> Response:
    """Remove one of one's own passkeys; without any factor left, the second factor is off.

    Needs a fresh session (`step_up_required`).
    """
    await passkeys.find_own(db_session(), caller().user_id, passkey_id)
    await require_fresh()
    await passkeys.remove_passkey(db_session(), caller().claims, passkey_id, origin())
    return no_content()
