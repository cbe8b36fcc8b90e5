"""Login, refresh and sessions, under /auth; the public keys."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Final
from uuid import UUID

from quart import Blueprint, Response, request

from service import clock
from service.auth import attempts, cookies, credentials, csrf, refreshing, schemas, sessions
from service.auth.account_lock import lock_account
from service.auth.errors import (
    AccountDisabled,
    InvalidCredentials,
    LoginIncomplete,
    SessionNotFound,
    UnknownTransport,
)
from service.auth.guards import login_required, refresh_token_required
from service.auth.login import UNKNOWN_EMAIL, WRONG_PASSWORD, log_in, record_failure
from service.auth.login_times import LoginTimes
from service.auth.principal import (
    caller,
    clear_cookies,
    csrf_tokens,
    passwords,
    refresh_caller,
    tokens,
)
from service.auth.refresh_tokens import RefreshToken, SessionPolicy
from service.auth.sign_in_metrics import LoginCount, SignInCounters
from service.auth.tokens import TokenType
from service.canonical import email_key
from service.db.synchronous import require_replication
from service.errors import Unavailable
from service.web.client import origin
from service.web.db_session import autocommit, db_session
from service.web.limiter import DEFAULT
from service.web.openapi import Link, answers, reads_headers
from service.web.openapi.headers import CSRF_TOKEN, SET_COOKIE, TOKEN_TRANSPORT
from service.web.ratelimit import limit, unlimited
from service.web.request_state import request_state
from service.web.responses import Payload, json_response, no_content
from service.web.validation import validate_request

blueprint: Final = Blueprint("auth", __name__, url_prefix="/auth")
keys_blueprint: Final = Blueprint("keys", __name__)

KEYS_MAX_AGE: Final = 300  # seconds
PAIR_HEADERS: Final = (SET_COOKIE, CSRF_TOKEN)
# Seconds after which a login succeeds no more: its client has most likely given up.
LATEST: Final = 9.0
LOGIN_ERRORS: Final = (InvalidCredentials, AccountDisabled, LoginIncomplete)
# A token is no parameter (OpenAPI 3.1, §4.8.12.1): the target's security says how it is sent.
REFRESH: Final = Link("Refresh", "refresh", "Sends `refresh_token` as Bearer, for a new pair.")
OWN_ACCOUNT: Final = Link("ReadMe", "read_me", "Sends `access_token` as Bearer.")


@blueprint.post("/login")
@limit("LOGIN")
@validate_request(schemas.Credentials)
@reads_headers(TOKEN_TRANSPORT, errors=[UnknownTransport])
@answers(
    200,
    schemas.LoginAnswer,
    headers=PAIR_HEADERS,
    links=[REFRESH, OWN_ACCOUNT],
    errors=LOGIN_ERRORS,
)
async def login(data: schemas.Credentials) -> Response:
    """Open a session with email and password."""
    by_cookie = wants_cookies()
    # Before the account is looked up and the login counted, so that a refusal discloses nothing.
    passwords().require_room()
    key = email_key(data.email)
    await attempts.enforce(key)
    with LoginCount(request_state().app.component(SignInCounters), "password"):
        async with attempts.counted_if_judged(key):
            user = await credentials.find_credentials(autocommit(), data.email)
            match = await passwords().match(data.password, user.password_hash if user else None)
        if user is None or not match.right:
            reason = WRONG_PASSWORD if user else UNKNOWN_EMAIL
            user_id = user.id if user else None
            await login_times().wait(autocommit(), passwords(), match)
            await record_failure(autocommit(), origin(), data.email, user_id, reason)
            raise InvalidCredentials
        # Only failures count.
        await attempts.refund(key)
        async with _in_time():
            token = await log_in(
                autocommit(), user, session_policy(), origin(), new_hash=match.new_hash
            )
    return token_response(token, {"user": schemas.show_user(user)}, by_cookie=by_cookie)


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    """Raise Unavailable instead of ending later than LATEST seconds after the request began."""
    left = LATEST - (perf_counter() - request_state().started)
    if left <= 0:
        raise Unavailable
    try:
        async with asyncio.timeout(left):
            yield
    except TimeoutError:
        raise Unavailable from None


@blueprint.post("/refresh")
@limit("REFRESH")
@refresh_token_required
@reads_headers(TOKEN_TRANSPORT, errors=[UnknownTransport])
@answers(
    200, schemas.RefreshAnswer, headers=PAIR_HEADERS, links=[REFRESH], errors=[AccountDisabled]
)
async def refresh() -> Response:
    """Exchange the refresh token, sent as Bearer or in its cookie, for a new pair."""
    principal = refresh_caller()
    # Scripts never see a token that came in a cookie, whatever the request asks for.
    by_cookie = wants_cookies() or principal.by_cookie
    policy = session_policy()
    token = await refreshing.rotate(autocommit(), principal.claims, policy, origin())
    if token is None:
        token = await refreshing.refresh(db_session(), principal.claims, policy, origin())
    return token_response(token, {}, by_cookie=by_cookie)


@blueprint.post("/logout")
@limit(DEFAULT)
@login_required
@answers(204, headers=[SET_COOKIE])
async def logout() -> Response:
    """End the session of the access token."""
    session_id = caller().claims.session_id
    try:
        await sessions.revoke_session(autocommit(), caller().user_id, session_id, origin())
    except SessionNotFound:  # another request has ended it
        await require_replication(autocommit())
    return clear_cookies(no_content())


@blueprint.get("/sessions")
@limit(DEFAULT)
@login_required
@answers(200, schemas.SessionsOut)
async def list_sessions() -> Response:
    """List one's own live sessions, the last used first."""
    rows = await sessions.list_sessions(db_session(), caller().user_id)
    current = caller().claims.session_id
    return json_response({"sessions": [schemas.show_session(row, current) for row in rows]})


@blueprint.delete("/sessions/<id:session_id>")
@limit(DEFAULT)
@login_required
@answers(204, headers=[SET_COOKIE], errors=[SessionNotFound])
async def revoke_session(session_id: UUID) -> Response:
    """End one of one's own sessions."""
    await sessions.revoke_session(autocommit(), caller().user_id, session_id, origin())
    ended_own = session_id == caller().claims.session_id
    return clear_cookies(no_content()) if ended_own else no_content()


@blueprint.delete("/sessions")
@limit(DEFAULT)
@login_required
@answers(204, headers=[SET_COOKIE])
async def revoke_sessions() -> Response:
    """End all of one's own sessions, the current one included."""
    await lock_account(db_session(), caller().user_id)
    await sessions.revoke_sessions(db_session(), caller().user_id, origin())
    return clear_cookies(no_content())


@keys_blueprint.get("/.well-known/jwks.json")
@unlimited
@answers(200, schemas.KeysOut)
async def list_keys() -> Response:
    """List the public keys that verify access tokens; none when a shared secret signs them."""
    caching = {"Cache-Control": f"public, max-age={KEYS_MAX_AGE}"}
    return json_response(tokens().keys.current.public, headers=caching)


def login_times() -> LoginTimes:
    """Return the application's times of failed logins."""
    return request_state().app.component(LoginTimes)


def session_policy() -> SessionPolicy:
    """Return the application's policy for login sessions."""
    return SessionPolicy.of(request_state().app.settings)


def wants_cookies() -> bool:
    """Whether the request asks for tokens in cookies. Raises UnknownTransport (400)."""
    transport = request.headers.get(TOKEN_TRANSPORT.name)
    if transport not in (None, "cookie"):
        raise UnknownTransport
    return transport == "cookie"


def token_response(token: RefreshToken, more: Payload, *, by_cookie: bool) -> Response:
    """Return the response that hands out a session's tokens, in its body or as cookies."""
    pair = _sign_pair(token)
    payload = {"token_type": "Bearer", "expires_in": _access_life(), **more}
    if not by_cookie:
        access, refresh = pair[TokenType.ACCESS], pair[TokenType.REFRESH]
        return json_response({"access_token": access, "refresh_token": refresh, **payload})
    response = json_response(payload)
    _put_cookies(response, token, pair)
    return response


def _put_cookies(response: Response, token: RefreshToken, pair: dict[TokenType, str]) -> None:
    session_life = math.ceil((token.expires_at - clock.now()).total_seconds())
    lives = {TokenType.ACCESS: _access_life(), TokenType.REFRESH: session_life}
    for kind, cookie in cookies.TOKENS.items():
        cookie.put(response, pair[kind], lives[kind])
    csrf_token = csrf_tokens().issue(token.session_id)
    cookies.CSRF.put(response, csrf_token, session_life)
    # A page of another host cannot read this host's cookies, but with CORS its headers.
    response.headers[csrf.HEADER] = csrf_token


def _access_life() -> int:
    return int(tokens().life[TokenType.ACCESS].total_seconds())


def _sign_pair(token: RefreshToken) -> dict[TokenType, str]:
    access = tokens().issue(TokenType.ACCESS, token.user_id, token.session_id)
    refresh = tokens().issue(
        TokenType.REFRESH,
        token.user_id,
        token.session_id,
        token_id=token.token_id,
        issued_at=token.issued_at,
        expires_at=token.expires_at,
    )
    return {TokenType.ACCESS: access, TokenType.REFRESH: refresh}
