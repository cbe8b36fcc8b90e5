"""Decorators for routes that require authentication or an administrator."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from quart_auth import Unauthorized as NotAuthenticated

from service.auth.errors import AccountDisabled, AdminRequired
from service.auth.principal import caller
from service.auth.security_schemes import ACCESS_COOKIE, ACCESS_TOKEN, REFRESH_COOKIE, REFRESH_TOKEN
from service.errors import Unauthorized
from service.web.openapi import secured_by

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
    """Require an administrator, or respond 403."""

    @wraps(route)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        if not caller().account.is_admin:
            raise AdminRequired
        return await route(*args, **kwargs)

    return secured_by(errors=[AdminRequired])(login_required(guarded))
