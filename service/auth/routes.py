"""Login, refresh and sessions, under /auth; the public keys."""

from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from quart import Blueprint, Response, current_app
from quart_schema import validate_request

from service.accounts import accounts
from service.accounts.schemas import show_user
from service.auth import logins, sessions
from service.auth.errors import AccountDisabled, InvalidCredentials, SessionNotFound
from service.auth.principal import (
    caller,
    login_required,
    passwords,
    refresh_caller,
    refresh_token_required,
    tokens,
)
from service.auth.schemas import (
    Credentials,
    KeysOut,
    LoginOut,
    SessionsOut,
    TokensOut,
    show_session,
)
from service.auth.sessions import RefreshToken, Rules
from service.auth.tokens import TokenType
from service.errors import Unavailable
from service.web import ratelimit
from service.web.caching import never_store
from service.web.json import json_response, no_content
from service.web.openapi import answers
from service.web.origin import origin
from service.web.ratelimit import DEFAULT, limit, unlimited
from service.web.transaction import release, session

blueprint: Final = never_store(Blueprint("auth", __name__, url_prefix="/auth"))
keys_blueprint: Final = Blueprint("keys", __name__)

KEYS_MAX_AGE: Final = 300  # seconds


@blueprint.post("/login")
@limit("LOGIN")
@validate_request(Credentials)
@answers(200, LoginOut, errors=[InvalidCredentials, AccountDisabled])
async def login(data: Credentials) -> Response:
    """Open a session with email and password."""
    await ratelimit.enforce("LOGIN_ACCOUNT", data.email.lower(), strict=True)
    user = await accounts.find_credentials(session(), data.email)
    await release()
    matches = await passwords().verify(data.password, user.password_hash if user else None)
    if user is None or not matches:
        reason = logins.WRONG_PASSWORD if user else logins.UNKNOWN_EMAIL
        user_id = user.id if user else None
        await logins.record_failure(session(), origin(), data.email, user_id, reason)
        raise InvalidCredentials
    # Only failures count: this one was none.
    await ratelimit.take_back("LOGIN_ACCOUNT", data.email.lower(), strict=True)
    new_hash = await _upgrade(data.password, user.password_hash)
    token = await logins.log_in(session(), user, rules(), origin(), new_hash=new_hash)
    return json_response({**_pair(token), "user": show_user(user)})


async def _upgrade(password: str, hashed: str) -> str | None:
    """Hash anew what is hashed in another way than today's; the login does not depend on it."""
    if passwords().needs_rehash(hashed):
        with suppress(Unavailable):
            return await passwords().hash(password)
    return None


@blueprint.post("/refresh")
@limit("REFRESH")
@refresh_token_required
@answers(200, TokensOut, errors=[AccountDisabled])
async def refresh() -> Response:
    """Exchange the refresh token, sent as Bearer, for a fresh pair."""
    token = await sessions.refresh(session(), refresh_caller().claims, rules(), origin())
    return json_response(_pair(token))


@blueprint.post("/logout")
@limit(DEFAULT)
@login_required
@answers(204)
async def logout() -> Response:
    """End this session."""
    with suppress(SessionNotFound):  # another request ended it meanwhile
        await sessions.end_session(
            session(), caller().user_id, caller().claims.session_id, origin()
        )
    return no_content()


@blueprint.get("/sessions")
@limit(DEFAULT)
@login_required
@answers(200, SessionsOut)
async def list_sessions() -> Response:
    """List one's own live sessions."""
    rows = await sessions.list_sessions(session(), caller().user_id)
    current = caller().claims.session_id
    return json_response({"sessions": [show_session(row, current) for row in rows]})


@blueprint.delete("/sessions/<id:session_id>")
@limit(DEFAULT)
@login_required
@answers(204, errors=[SessionNotFound])
async def end_session(session_id: UUID) -> Response:
    """End one of one's own sessions."""
    await sessions.end_session(session(), caller().user_id, session_id, origin())
    return no_content()


@blueprint.delete("/sessions")
@limit(DEFAULT)
@login_required
@answers(204)
async def end_sessions() -> Response:
    """End all of one's own sessions, this one too."""
    await sessions.end_sessions(session(), caller().user_id, origin())
    return no_content()


@keys_blueprint.get("/.well-known/jwks.json")
@unlimited
@answers(200, KeysOut)
async def list_keys() -> Response:
    """Publish the keys that verify access tokens; none when a shared secret signs them."""
    caching = {"Cache-Control": f"public, max-age={KEYS_MAX_AGE}"}
    return json_response(tokens().keys.public, headers=caching)


def rules() -> Rules:
    """The application's rules for sessions."""
    return Rules.of(current_app.extensions["settings"])


def _pair(token: RefreshToken) -> dict[str, Any]:
    access = tokens().issue(TokenType.ACCESS, token.user_id, token.session_id)
    refresh = tokens().issue(
        TokenType.REFRESH,
        token.user_id,
        token.session_id,
        token_id=token.token_id,
        issued_at=token.issued_at,
        expires_at=token.expires_at,
    )
    return {
        "access_token": access,
        "refresh_token": refresh,
        "token_type": "Bearer",
        "expires_in": int(tokens().life[TokenType.ACCESS].total_seconds()),
    }
