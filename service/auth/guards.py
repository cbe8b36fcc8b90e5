"""Decorators for routes that require authentication or an administrator."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from quart_auth import Unauthorized as NotAuthenticated

from service.auth.api_keys.scopes import ADMIN, CLOSED, SCOPES_ATTRIBUTE, RouteScopes, Scope
from service.auth.errors import (
    AccountDisabled,
    AdminRequired,
    InsufficientScope,
    SecondFactorRequired,
)
from service.auth.principal import caller
from service.auth.security import SECOND_FACTORS, find_security
from service.auth.security_schemes import (
    ACCESS_COOKIE,
    ACCESS_TOKEN,
    REFRESH_COOKIE,
    REFRESH_TOKEN,
    api_key,
)
from service.errors import Unauthorized
from service.web.db_session import db_session
from service.web.openapi import secured_by
from service.web.request_state import request_state

P = ParamSpec("P")
T = TypeVar("T")

# Only for the OpenAPI document; `refresh_caller` checks the token.
refresh_token_required = secured_by(REFRESH_TOKEN, REFRESH_COOKIE, errors=[Unauthorized])


def login_required(route: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Require a valid access token (or 401), and for a write by cookie the CSRF token (or 403).

    API keys are refused (403).
    """
    return _guarded(route, CLOSED)


def scope_required(
    scope: Scope,
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """Require what `login_required` does, or an API key with a scope (or 403)."""

    def decorate(route: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        return _guarded(route, RouteScopes(scope, scope))

    return decorate


def _guarded(route: Callable[P, Awaitable[T]], scopes: RouteScopes) -> Callable[P, Awaitable[T]]:
    @wraps(route)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        principal = caller()
        if not await principal.is_authenticated:
            raise NotAuthenticated
        principal.check_permission(scopes)
        return await route(*args, **kwargs)

    setattr(guarded, SCOPES_ATTRIBUTE, scopes)
    errors = [Unauthorized, AccountDisabled, InsufficientScope]
    keys = [] if scopes == CLOSED else [api_key(scopes)]
    declare = secured_by(ACCESS_TOKEN, ACCESS_COOKIE, *keys, errors=errors)
    return declare(guarded)


def require_session() -> None:
    """Raise InsufficientScope (403) unless the caller has a login session.

    What needs freshness is closed to API keys.
    """
    if caller().key is not None:
        raise InsufficientScope


def admin_required(route: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Require an administrator (or 403), with a second factor where the settings say so.

    Of an API key, the scope for the method as well.
    """
    return _administered(route, ADMIN)


def admin_session_required(route: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Require what `admin_required` does, and refuse API keys (403)."""
    return _administered(route, CLOSED)


def _administered(
    route: Callable[P, Awaitable[T]], scopes: RouteScopes
) -> Callable[P, Awaitable[T]]:
    @wraps(route)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        if not caller().account.is_admin:
            raise AdminRequired
        if request_state().app.settings.second_factor_required == "admins":
            await _require_second_factor()
        return await route(*args, **kwargs)

    errors = [AdminRequired, SecondFactorRequired]
    return secured_by(errors=errors)(_guarded(guarded, scopes))


async def _require_second_factor() -> None:
    """Raise SecondFactorRequired (403) unless the caller's session was opened with a second factor.

    A step-up by one since counts as well; of an API key counts the session that made it.
    """
    key = caller().key
    if key is not None:
        if not key.second_factor:
            raise SecondFactorRequired
        return
    security = await find_security(db_session(), caller().claims.session_id)
    if SECOND_FACTORS.isdisjoint(security.methods):
        raise SecondFactorRequired
