"""Who is calling: quart-auth's principal, from a strictly read Authorization header.

`login_required` awaits `Principal.is_authenticated`, which looks once per request whether session
and account are live; the 401 that follows tells by RFC 6750 what was wrong with the token.
"""

import re
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar, cast
from uuid import UUID

from quart import Quart, Response, current_app, request
from quart_auth import AuthUser, QuartAuth, Unauthorized, current_user
from quart_auth import login_required as authenticated

from service.auth.errors import AccountDisabled, AdminRequired
from service.auth.passwords import Passwords
from service.auth.sessions import Caller, find_caller
from service.auth.tokens import (
    ENDED,
    EXPIRED,
    INVALID,
    Claims,
    ExpiredToken,
    InvalidToken,
    Tokens,
    TokenType,
)
from service.errors import Unauthorized as NotSignedIn
from service.web.errors import error_response
from service.web.logging import bind_user
from service.web.openapi import SecurityScheme, secured
from service.web.transaction import database

P = ParamSpec("P")
T = TypeVar("T")

# The scheme in any case, then at least one space (RFC 9110, §11.6.2; RFC 6750, §2.1).
_BEARER: Final = re.compile(r"bearer +(\S.*)", re.IGNORECASE | re.DOTALL)

MISSING: Final = "Authentication is required"

ACCESS_TOKEN: Final = SecurityScheme(
    "accessToken",
    {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The `access_token` of a login or a refresh.",
    },
)
REFRESH_TOKEN: Final = SecurityScheme(
    "refreshToken",
    {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The `refresh_token` of a login or of the last refresh.",
    },
)
# Only tells; `refresh_caller` checks.
refresh_token_required = secured(REFRESH_TOKEN, errors=[NotSignedIn])


def login_required(route: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Let only callers in that show a good access token; others get 401."""
    return secured(ACCESS_TOKEN, errors=[NotSignedIn, AccountDisabled])(authenticated(route))


class Principal(AuthUser):
    """The caller of a request; `problem` tells why there is none."""

    def __init__(self, claims: Claims | None = None, problem: str = MISSING) -> None:
        super().__init__(str(claims.user_id) if claims else None)
        self._claims = claims
        self._account: Caller | None = None
        self.problem = problem

    @property
    async def is_authenticated(self) -> bool:
        """Whether the token's session and account are live now, in one statement per request.

        Raises AccountDisabled (403).
        """
        if self._claims is None:
            return False
        if self._account is None:
            self._account = await find_caller(database(), self._claims)
        if self._account is None:
            self.problem = ENDED
            return False
        if not self._account.is_active:
            raise AccountDisabled
        return True

    @property
    def claims(self) -> Claims:
        """What the token says; only for routes that require a login."""
        if self._claims is None:
            raise Unauthorized
        return self._claims

    @property
    def user_id(self) -> UUID:
        """The caller's id; only for routes that require a login."""
        return self.claims.user_id

    @property
    def account(self) -> Caller:
        """The caller's account as this request found it; only for routes that require a login."""
        if self._account is None:
            raise Unauthorized
        return self._account


class BearerAuth(QuartAuth):
    """quart-auth with JWTs instead of its own signed ids."""

    user_class = Principal  # type: ignore[assignment]

    def __init__(self, tokens: Tokens) -> None:
        super().__init__(mode="bearer")
        self._tokens = tokens

    def resolve_user(self) -> Principal:
        """Read the access token; never raises, for open routes come here too."""
        return self.read(TokenType.ACCESS)

    def read(self, kind: TokenType) -> Principal:
        """Read a token of one kind from the Authorization header."""
        sent = request.headers.getlist("Authorization")
        if len(sent) > 1:
            return Principal(problem=INVALID)
        found = _BEARER.fullmatch(sent[0]) if sent else None
        if not found:
            return Principal()
        try:
            claims = self._tokens.verify(kind, found[1])
        except ExpiredToken:
            return Principal(problem=EXPIRED)
        except InvalidToken:
            return Principal(problem=INVALID)
        bind_user(str(claims.user_id))
        # Should its account turn out to be gone, then the token is what is wrong.
        return Principal(claims, INVALID)

    async def after_request(self, response: Response) -> Response:
        """Nothing to do for bearers: the stock method would verify every token once more."""
        return response


def tokens() -> Tokens:
    """The application's tokens."""
    return cast(Tokens, current_app.extensions["tokens"])


def passwords() -> Passwords:
    """The application's password hashing."""
    return cast(Passwords, current_app.extensions["passwords"])


def caller() -> Principal:
    """The present request's caller."""
    return cast(Principal, current_user._get_current_object())  # type: ignore[attr-defined]


def user_key() -> str | None:
    """Name the caller that the token tells of, without asking the database; None for nobody."""
    auth_id = caller().auth_id
    return f"user:{auth_id}" if auth_id else None


def refresh_caller() -> Principal:
    """The caller by refresh token. Raises Unauthorized (401)."""
    auth: BearerAuth = current_app.extensions["QUART_AUTH"][0]
    principal = auth.read(TokenType.REFRESH)
    auth.login_user(principal)
    if principal.auth_id is None:
        raise Unauthorized
    return principal


def admin_required(route: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Let only operators in; callers who are none get 403."""

    @wraps(route)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        if not caller().account.is_admin:
            raise AdminRequired
        return await route(*args, **kwargs)

    return secured(errors=[AdminRequired])(login_required(guarded))


async def _unauthorized(_error: Unauthorized) -> Response:
    problem = caller().problem
    challenge = "Bearer"
    if problem != MISSING:
        challenge = f'Bearer error="invalid_token", error_description="{problem}"'
    return error_response(401, problem, headers={"WWW-Authenticate": challenge})


def init_app(app: Quart, signer: Tokens) -> None:
    """Know the caller of every request."""
    app.extensions["tokens"] = signer
    BearerAuth(signer).init_app(app)
    app.register_error_handler(Unauthorized, _unauthorized)


__all__ = [
    "Principal",
    "admin_required",
    "caller",
    "init_app",
    "login_required",
    "passwords",
    "refresh_caller",
    "refresh_token_required",
    "tokens",
]
