"""Registration and one's own account, under /auth."""

from typing import Final

from quart import Blueprint, Response

from service.accounts import accounts
from service.accounts.accounts import LastAdmin, WrongPassword
from service.accounts.schemas import (
    AccountDeletion,
    FirstPassword,
    PasswordChange,
    PasswordlessDeletion,
    ProfileChange,
    Registration,
)
from service.auth import credentials
from service.auth.acting import lock_caller
from service.auth.api_keys.scopes import Scope
from service.auth.errors import StepUpRequired
from service.auth.freshness import require_fresh_if_protected
from service.auth.guards import login_required, scope_required
from service.auth.models import NO_PASSWORD
from service.auth.password_policy import refuse_names
from service.auth.principal import caller, clear_cookies, passwords
from service.auth.registration import EmailTaken, UsernameTaken
from service.auth.rows import PasswordRow
from service.auth.schemas import UserOut, show_user
from service.web.client import origin
from service.web.db_session import db_session, release
from service.web.limiter import DEFAULT
from service.web.openapi import Link, answers
from service.web.openapi.headers import SET_COOKIE
from service.web.ratelimit import limit
from service.web.responses import json_response, no_content
from service.web.validation import validate_either, validate_request

blueprint: Final = Blueprint("accounts", __name__, url_prefix="/auth")


LOGIN: Final = Link("Login", "login", "Sends the email and the password that were registered.")


async def _has_no_password() -> bool:
    account = await _find_password()
    return account is not None and account.password_hash == NO_PASSWORD


@blueprint.post("/register")
@limit("REGISTER")
@validate_request(Registration)
@answers(201, UserOut, links=[LOGIN], errors=[EmailTaken, UsernameTaken])
async def register(data: Registration) -> Response:
    """Register an account."""
    refuse_names(data.password, email=data.email, username=data.username)
    password_hash = await passwords().hash(data.password)
    user = await accounts.register(db_session(), data, password_hash, origin())
    return json_response(show_user(user), 201, {"Location": "/auth/me"})


@blueprint.get("/me")
@limit(DEFAULT)
@scope_required(Scope.ACCOUNT_READ)
@answers(200, UserOut)
async def read_me() -> Response:
    """Read one's own account."""
    return json_response(show_user(caller().account))


@blueprint.patch("/me")
@limit(DEFAULT)
@login_required
@validate_request(ProfileChange)
@answers(200, UserOut, errors=[StepUpRequired, EmailTaken, UsernameTaken])
async def change_me(data: ProfileChange) -> Response:
    """Change one's own username or email; a new email must be verified again.

    The old email, if it was verified, is informed by mail. Until the new one is verified, it alone
    gets links to reset the password. A new email of an account with a second factor or a key needs
    a fresh session.
    """
    account = caller().account
    if "email" in data.given():
        # As it is now: the account that the headers found may have had another email.
        account = await lock_caller(db_session(), caller())
        if accounts.has_new_email(account, data):
            await require_fresh_if_protected()
    user = await accounts.change_profile(db_session(), account, data, origin())
    return json_response(show_user(user))


@blueprint.delete("/me")
@limit(DEFAULT)
@login_required
@validate_either(AccountDeletion, PasswordlessDeletion, when=_has_no_password)
@answers(204, headers=[SET_COOKIE], errors=[StepUpRequired, WrongPassword, LastAdmin])
async def delete_me(data: AccountDeletion | PasswordlessDeletion) -> Response:
    """Delete one's own account and all its posts.

    An account with more than a password needs a fresh session, too; one without a password needs
    that alone.
    """
    await require_fresh_if_protected()
    account = await _check_password(data.password)
    await accounts.delete_account(db_session(), account, caller().claims.session_id, origin())
    return clear_cookies(no_content())


@blueprint.put("/password")
@limit(DEFAULT)
@login_required
@validate_either(PasswordChange, FirstPassword, when=_has_no_password)
@answers(204, errors=[StepUpRequired, WrongPassword])
async def change_password(data: PasswordChange | FirstPassword) -> Response:
    """Change one's own password, which ends all other sessions.

    An account with more than a password needs a fresh session, too; one without a password needs
    that alone.
    """
    user = caller().account
    refuse_names(data.new_password, email=user.email, username=user.username, field="new_password")
    await require_fresh_if_protected()
    account = await _find_password()
    if account is not None and account.password_hash == NO_PASSWORD:
        new_hash: str | None = await passwords().hash(data.new_password)
    else:
        hashed = account.password_hash if account else None
        given = data.current_password or ""
        new_hash = await passwords().change(given, hashed, data.new_password)
    if account is None or new_hash is None:
        raise WrongPassword
    keep = caller().claims.session_id
    await accounts.change_password(db_session(), account, new_hash, origin(), keep=keep)
    return no_content()


async def _check_password(password: str | None) -> PasswordRow:
    """Return the caller's account if the password is its own, or it has none.

    Raises WrongPassword.
    """
    account = await _find_password()
    if account is not None and account.password_hash == NO_PASSWORD:
        return account
    hashed = account.password_hash if account else None
    if not await passwords().verify(password or "", hashed) or account is None:
        raise WrongPassword
    return account


async def _find_password() -> PasswordRow | None:
    account = await credentials.find_password(db_session(), caller().user_id)
    await release()
    return account
