"""Decorators of routes that only some callers may use."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from quart_auth import login_required as authenticated

from service.auth.errors import AccountDisabled, AdminRequired
from service.auth.principal import caller
from service.auth.security_schemes import ACCESS_COOKIE, ACCESS_TOKEN, REFRESH_COOKIE, REFRESH_TOKEN
from service.errors import Unauthorized as NotSignedIn
from service.web.openapi import secured_by

P = ParamSpec("P")
T = TypeVar("T")

# Only tells; `refresh_caller` checks.
refresh_token_required = secured_by(REFRESH_TOKEN, REFRESH_COOKIE, errors=[NotSignedIn])


def login_required(route: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Let only callers in that show a good access token; others get 401.

    A write by cookie without the CSRF token gets 403.
    """

    @wraps(route)
    async def confirmed(*args: P.args, **kwargs: P.kwargs) -> T:
        caller().check_csrf()
        return await route(*args, **kwargs)

    told = secured_by(ACCESS_TOKEN, ACCESS_COOKIE, errors=[NotSignedIn, AccountDisabled])
    return told(authenticated(confirmed))


def admin_required(route: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Let only operators in; callers who are none get 403."""

    @wraps(route)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        if not caller().account.is_admin:
            raise AdminRequired
        return await route(*args, **kwargs)

    return secured_by(errors=[AdminRequired])(login_required(guarded))
