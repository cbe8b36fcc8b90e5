"""Registration and one's own account, under /auth."""

from typing import Final

from quart import Blueprint, Response
from quart_auth import Unauthorized
from quart_schema import validate_request

from service.accounts import accounts
from service.accounts.accounts import EmailTaken, UsernameTaken
from service.accounts.schemas import Registration, UserOut, show_user
from service.auth.principal import caller, login_required, passwords
from service.web.json import json_response
from service.web.openapi import answers
from service.web.transaction import session

blueprint: Final = Blueprint("accounts", __name__, url_prefix="/auth")


@blueprint.post("/register")
@validate_request(Registration)
@answers(201, UserOut, errors=[EmailTaken, UsernameTaken])
async def register(data: Registration) -> Response:
    """Make an account."""
    password_hash = await passwords().hash(data.password)
    user = await accounts.register(session(), data, password_hash)
    return json_response(show_user(user), 201, {"Location": "/auth/me"})


@blueprint.get("/me")
@login_required
@answers(200, UserOut)
async def read_me() -> Response:
    """Read one's own account."""
    user = await accounts.find_user(session(), caller().user_id)
    if user is None:
        raise Unauthorized
    return json_response(show_user(user))
