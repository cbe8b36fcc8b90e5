"""Step-up: proving again who one is, for what needs a fresh session."""

from datetime import datetime, timedelta
from typing import Final

from quart import Blueprint, Response

from service.auth import attempts, step_up
from service.auth.errors import (
    CodeRefused,
    PasswordRefused,
    SecondFactorLocked,
    SecondFactorRequired,
)
from service.auth.guards import login_required
from service.auth.passkeys.errors import PasskeyRefused
from service.auth.principal import caller, passwords
from service.auth.second_factor.component import verifier
from service.auth.second_factor.proofs import SteppedUp, StepUpProof
from service.canonical import email_key
from service.web.client import origin
from service.web.db_session import autocommit, db_session
from service.web.openapi import answers
from service.web.ratelimit import limit
from service.web.request_state import request_state
from service.web.responses import json_response
from service.web.validation import validate_request

blueprint: Final = Blueprint("step_up", __name__, url_prefix="/auth")


@blueprint.post("/step-up")
@limit("SECOND_FACTOR")
@login_required
@validate_request(StepUpProof)
@answers(
    200,
    SteppedUp,
    errors=[PasswordRefused, CodeRefused, PasskeyRefused, SecondFactorRequired, SecondFactorLocked],
)
async def step_up_session(data: StepUpProof) -> Response:
    """Make the session of the access token fresh, and no other one.

    The password is enough only while the second factor is off.
    """
    name, value = data.proof()
    if name == step_up.PASSWORD and isinstance(value, str):
        since = await _by_password(value)
    else:
        claims = caller().claims
        since = await step_up.step_up_by_factor(
            verifier(), claims.user_id, claims.session_id, (name, value), origin()
        )
    max_age = timedelta(seconds=request_state().app.settings.step_up_max_age)
    return json_response({"fresh_until": since + max_age})


async def _by_password(password: str) -> datetime:
    state = await step_up.find_state(autocommit(), caller().user_id)
    step_up.require_password_enough(state)
    key = email_key(state.email)
    await attempts.enforce(key)
    async with attempts.counted_if_judged(key):
        right = await passwords().verify(password, state.password_hash)
    if not right:
        raise PasswordRefused
    # Only failures count.
    await attempts.refund(key)
    session_id = caller().claims.session_id
    return await step_up.step_up_by_password(db_session(), state, session_id, origin())
