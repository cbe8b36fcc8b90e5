"""The options for showing one of an account's passkeys: as a second factor, and for a step-up."""

from typing import Final
from uuid import UUID

from quart import Blueprint, Response

from service.auth.errors import AccountDisabled, LoginExpired
from service.auth.freshness import caller_security
from service.auth.guards import login_required
from service.auth.passkeys import schemas
from service.auth.passkeys.challenges import Purpose, session_binding
from service.auth.passkeys.component import challenges
from service.auth.passkeys.errors import NoPasskeys
from service.auth.passkeys.options import UserVerification, request_options
from service.auth.passkeys.queries import find_credential_ids
from service.auth.passkeys.waiting import find_waiting_user
from service.auth.principal import caller
from service.auth.second_factor.login_tokens import digest_of
from service.web.db_session import db_session
from service.web.openapi import answers
from service.web.ratelimit import limit
from service.web.request_state import request_state
from service.web.responses import json_response
from service.web.validation import validate_request

blueprint: Final = Blueprint("passkey_factors", __name__, url_prefix="/auth")


@blueprint.post("/login/second-factor/options")
@limit("BEGIN")
@validate_request(schemas.WaitingLoginIn)
@answers(200, schemas.OwnRequestOptionsOut, errors=[LoginExpired, AccountDisabled, NoPasskeys])
async def begin_passkey_factor(data: schemas.WaitingLoginIn) -> Response:
    """Return the options for a passkey as the second factor of a login that waits."""
    user_id = await find_waiting_user(db_session(), data.login_token)
    binding = digest_of(data.login_token)
    return await _own_options(user_id, Purpose.SECOND_FACTOR, binding, "preferred")


@blueprint.post("/step-up/options")
@limit("BEGIN")
@login_required
@answers(200, schemas.OwnRequestOptionsOut, errors=[NoPasskeys])
async def begin_passkey_step_up() -> Response:
    """Return the options for a step-up of this session by a passkey that verifies its user."""
    security = await caller_security()
    binding = session_binding(caller().claims.session_id, security.sign_in_epoch)
    return await _own_options(caller().user_id, Purpose.STEP_UP, binding, "required")


async def _own_options(
    user_id: UUID, purpose: Purpose, binding: bytes, user_verification: UserVerification
) -> Response:
    party = request_state().app.settings.relying_party
    known = await find_credential_ids(db_session(), user_id, party.id) if party else ()
    if party is None or not known:
        raise NoPasskeys
    challenge = challenges().issue(purpose, binding)
    return json_response(request_options(party, challenge, user_verification, known))
