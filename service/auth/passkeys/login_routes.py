"""A login by a passkey alone, under /auth/login/passkey."""

from typing import Final

from quart import Blueprint, Response

from service.auth.errors import AccountDisabled, UnknownTransport
from service.auth.passkeys import schemas
from service.auth.passkeys.assertions import PasskeyCloned, report_clone
from service.auth.passkeys.challenges import Purpose
from service.auth.passkeys.component import challenges, relying_party
from service.auth.passkeys.errors import PasskeyLoginRefused, PasskeysOff, PasskeyUnknown
from service.auth.passkeys.login import PASSKEY, find_account, log_in_alone
from service.auth.passkeys.options import request_options
from service.auth.passkeys.verification import CredentialRefused
from service.auth.routes import (
    OWN_ACCOUNT,
    PAIR_HEADERS,
    REFRESH,
    session_policy,
    token_response,
    wants_cookies,
)
from service.auth.schemas import LoginAnswer, show_user
from service.auth.second_factor.component import sign_in_counters
from service.auth.sign_in_metrics import LoginCount
from service.web.client import origin
from service.web.db_session import autocommit, db_session
from service.web.openapi import answers, reads_headers
from service.web.openapi.headers import TOKEN_TRANSPORT
from service.web.ratelimit import limit
from service.web.responses import json_response
from service.web.validation import validate_request

blueprint: Final = Blueprint("passkey_login", __name__, url_prefix="/auth/login/passkey")


@blueprint.post("/options")
@limit("BEGIN")
@answers(200, schemas.RequestOptionsOut, errors=[PasskeysOff])
async def begin_passkey_login() -> Response:
    """Return the options for signing in with a passkey, the same for everybody."""
    challenge = challenges().issue(Purpose.LOG_IN)
    return json_response(request_options(relying_party(), challenge, "required"))


@blueprint.post("")
@limit("LOGIN")
@validate_request(schemas.PasskeyLogin)
@reads_headers(TOKEN_TRANSPORT, errors=[UnknownTransport])
@answers(
    200,
    LoginAnswer,
    headers=PAIR_HEADERS,
    links=[REFRESH, OWN_ACCOUNT],
    errors=[PasskeyUnknown, PasskeyLoginRefused, AccountDisabled, PasskeysOff],
)
async def log_in_by_passkey(data: schemas.PasskeyLogin) -> Response:
    """Open a session with a passkey that verified its user; no second factor is asked for."""
    by_cookie, party, credential = wants_cookies(), relying_party(), data.credential
    with LoginCount(sign_in_counters(), PASSKEY):
        passkey = await find_account(autocommit(), credential, origin())
        try:
            token = await log_in_alone(
                autocommit(), challenges(), party, passkey, credential, session_policy(), origin()
            )
        except CredentialRefused as refused:
            if isinstance(refused, PasskeyCloned):
                await report_clone(db_session(), passkey, origin())
            raise PasskeyLoginRefused from None
    return token_response(token, {"user": show_user(passkey)}, by_cookie=by_cookie)
