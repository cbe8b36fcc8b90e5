"""The second half of a login to an account whose second factor is on."""

from typing import Final

from quart import Blueprint, Response

from service.auth.errors import (
    AccountDisabled,
    LoginExpired,
    SecondFactorFailed,
    SecondFactorLocked,
    UnknownTransport,
)
from service.auth.routes import (
    OWN_ACCOUNT,
    PAIR_HEADERS,
    REFRESH,
    session_policy,
    token_response,
    wants_cookies,
)
from service.auth.schemas import show_user
from service.auth.second_factor.component import sign_in_counters, verifier
from service.auth.second_factor.finishing import finish_login
from service.auth.second_factor.proofs import FinishedLogin, LoginProof
from service.auth.second_factor.verification import METHODS
from service.auth.sign_in_metrics import LoginCount
from service.web.client import origin
from service.web.openapi import answers, reads_headers
from service.web.openapi.headers import TOKEN_TRANSPORT
from service.web.ratelimit import limit
from service.web.validation import validate_request

blueprint: Final = Blueprint("second_factor_login", __name__, url_prefix="/auth/login")


@blueprint.post("/second-factor")
@limit("SECOND_FACTOR")
@validate_request(LoginProof)
@reads_headers(TOKEN_TRANSPORT, errors=[UnknownTransport])
@answers(
    200,
    FinishedLogin,
    headers=PAIR_HEADERS,
    links=[REFRESH, OWN_ACCOUNT],
    errors=[SecondFactorFailed, LoginExpired, AccountDisabled, SecondFactorLocked],
)
async def show_second_factor(data: LoginProof) -> Response:
    """Open the session of a login token with a second factor."""
    by_cookie, proof = wants_cookies(), data.proof()
    with LoginCount(sign_in_counters(), METHODS[proof[0]]):
        done = await finish_login(verifier(), data.login_token, proof, session_policy(), origin())
    left = done.proven.codes_left
    more = {} if left is None else {"recovery_codes_left": left}
    payload = {"user": show_user(done.user), **more}
    return token_response(done.token, payload, by_cookie=by_cookie)
