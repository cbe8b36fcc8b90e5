"""Login and refresh, under /auth."""

from typing import Final
from uuid import UUID

import quart_auth
from quart import Blueprint, Response
from quart_schema import validate_request

from service.accounts import accounts
from service.accounts.schemas import show_user
from service.auth.principal import passwords, refresh_caller, refresh_token_required, tokens
from service.auth.schemas import Credentials, LoginOut, TokensOut
from service.auth.tokens import TokenType
from service.errors import Forbidden, Unauthorized
from service.ids import new_id
from service.web.json import json_response
from service.web.openapi import answers
from service.web.transaction import release, session

blueprint: Final = Blueprint("auth", __name__, url_prefix="/auth")


class InvalidCredentials(Unauthorized):
    """The email is unknown or the password is wrong; which, is not told."""

    default_message = "Invalid credentials"


class AccountDisabled(Forbidden):
    """The account was disabled by an operator."""

    default_message = "Account disabled"


@blueprint.post("/login")
@validate_request(Credentials)
@answers(200, LoginOut, errors=[InvalidCredentials, AccountDisabled])
async def login(data: Credentials) -> Response:
    """Open a session with email and password."""
    user = await accounts.find_credentials(session(), data.email)
    await release()
    matches = await passwords().verify(data.password, user.password_hash if user else None)
    if user is None or not matches:
        raise InvalidCredentials(headers={"WWW-Authenticate": "Bearer"})
    if not user.is_active:
        raise AccountDisabled
    return json_response({**_pair(user.id, new_id()), "user": show_user(user)})


@blueprint.post("/refresh")
@refresh_token_required
@answers(200, TokensOut, errors=[AccountDisabled])
async def refresh() -> Response:
    """Exchange the refresh token, sent as Bearer, for a fresh pair."""
    claims = refresh_caller().claims
    user = await accounts.find_user(session(), claims.user_id)
    if user is None:
        raise quart_auth.Unauthorized
    if not user.is_active:
        raise AccountDisabled
    return json_response(_pair(claims.user_id, claims.session_id))


def _pair(user_id: UUID, session_id: UUID) -> dict[str, object]:
    return {
        "access_token": tokens().issue(TokenType.ACCESS, user_id, session_id),
        "refresh_token": tokens().issue(TokenType.REFRESH, user_id, session_id),
        "token_type": "Bearer",
        "expires_in": int(tokens().life[TokenType.ACCESS].total_seconds()),
    }
