"""Decorators for routes that require authentication or an administrator."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from quart_auth import Unauthorized as NotAuthenticated

from service.auth.errors import AccountDisabled, AdminRequired, SecondFactorRequired
from service.auth.principal import caller
from service.auth.security import SECOND_FACTORS, find_security
from service.auth.security_schemes import ACCESS_COOKIE, ACCESS_TOKEN, REFRESH_COOKIE, REFRESH_TOKEN
from service.errors import Unauthorized
from service.web.db_session import db_session
from service.web.openapi import secured_by
from service.web.request_state import request_state

P = ParamSpec("P")
T = TypeVar("T")

# Only for the OpenAPI document; `refresh_caller` checks the token.
refresh_token_required = secured_by(REFRESH_TOKEN, REFRESH_COOKIE, errors=[Unauthorized])


def login_required(route: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Require a valid access token (or 401), and for a write by cookie the CSRF token (or 403)."""

    @wraps(route)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        principal = caller()
        if not await principal.is_authenticated:
            raise NotAuthenticated
        principal.check_csrf()
        return await route(*args, **kwargs)

    declare = secured_by(ACCESS_TOKEN, ACCESS_COOKIE, errors=[Unauthorized, AccountDisabled])
    return declare(guarded)


def admin_required(route: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Require an administrator (or 403), with a second factor where the settings say so."""

    @wraps(route)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        if not caller().account.is_admin:
            raise AdminRequired
        if request_state().app.settings.second_factor_required == "admins":
            await _require_second_factor()
        return await route(*args, **kwargs)

    errors = [AdminRequired, SecondFactorRequired]
    return secured_by(errors=errors)(login_required(guarded))


async def _require_second_factor() -> None:
    """Raise SecondFactorRequired (403) unless the caller's session was opened with a second factor.

    A step-up by one since counts as well.
    """
    # Of an API key counts the session that made it: ApiKey.second_factor.
    security = await find_security(db_session(), caller().claims.session_id)
    if SECOND_FACTORS.isdisjoint(security.methods):
        raise SecondFactorRequired
