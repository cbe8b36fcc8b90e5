"""The caller of a request: quart-auth's user, from the Authorization header or a cookie.

`login_required` awaits `Principal.is_authenticated`, which checks once per request that the login
session and its account are live; the 401 that follows says what is wrong with the token (RFC 6750).

A browser sends its cookies with requests of any site. So a request that a cookie authenticates and
that may write must also carry the login session's CSRF token.
"""

import re
from collections.abc import AsyncGenerator, Callable
from typing import Final, cast
from uuid import UUID

from quart import Response, after_this_request, request
from quart.typing import ResponseTypes
from quart_auth import AuthUser, QuartAuth, Unauthorized

from service.auth import cookies
from service.auth.api_keys.lookup import KeyRow
from service.auth.api_keys.scopes import CLOSED, SCOPES_ATTRIBUTE, RouteScopes
from service.auth.callers import find_caller
from service.auth.csrf import HEADER as CSRF_HEADER
from service.auth.csrf import CsrfTokens
from service.auth.errors import AccountDisabled
from service.auth.login_times import LoginTimes
from service.auth.passwords import Passwords
from service.auth.rows import UserRow
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
from service.web.db_session import SAFE_METHODS
from service.web.errors import error_response
from service.web.request_state import request_state
from service.web.server.application import Service
from service.web.telemetry import bind_user

# The scheme in any case, then at least one space (RFC 9110, §11.6.2; RFC 6750, §2.1).
_BEARER: Final = re.compile(r"bearer +(\S.*)", re.IGNORECASE | re.DOTALL)

MISSING: Final = "Authentication is required"


class Principal(AuthUser):
    """The caller of a request, or the `problem` for which there is none."""

    # The API key that authenticated the caller; None for a caller with a login session.
    key: KeyRow | None = None
    # Whether a key was sent, known without a query.
    sent_key: bool = False

    def __init__(
        self, claims: Claims | None = None, problem: str = MISSING, *, by_cookie: bool = False
    ) -> None:
        super().__init__(str(claims.user_id) if claims else None)
        self._claims = claims
        self._account: UserRow | None = None
        self.problem = problem
        self.by_cookie = by_cookie

    @property
    async def is_authenticated(self) -> bool:
        """Whether the token's login session and account are live. Raises AccountDisabled (403)."""
        if self._claims is None:
            return False
        if self._account is None:
            # Not by the request's own session, whose transaction a write would begin here.
            reader = request_state().app.database.read_session()
            try:
                self._account = await find_caller(reader, self._claims)
            finally:
                await reader.close()
        if self._account is None:
            self.problem = ENDED
            return False
        if not self._account.is_active:
            raise AccountDisabled
        return True

    @property
    def claims(self) -> Claims:
        """The token's claims, on routes that require a login."""
        if self._claims is None:
            raise Unauthorized
        return self._claims

    @property
    def user_id(self) -> UUID:
        """The caller's id, on routes that require a login."""
        return self.claims.user_id

    @property
    def account(self) -> UserRow:
        """The caller's account when the request came, on routes that require a login."""
        if self._account is None:
            raise Unauthorized
        return self._account

    def check_permission(self, _scopes: RouteScopes = CLOSED) -> None:
        """Raise CsrfRefused (403) when a write by cookie has no valid CSRF token.

        The scopes are those that open the route to API keys.
        """
        if self.by_cookie and request.method not in SAFE_METHODS:
            csrf_tokens().check(self.claims.session_id, request.headers.get(CSRF_HEADER, ""))


class TokenAuth(QuartAuth):
    """quart-auth's extension, with JWTs as Bearer or in cookies instead of its signed ids."""

    user_class = Principal  # type: ignore[assignment]

    def __init__(self, tokens: Tokens) -> None:
        super().__init__(mode="bearer")
        self.tokens = tokens
        self._keys: tuple[str, Callable[[str], Principal]] | None = None

    def take_keys(self, start: str, read: Callable[[str], Principal]) -> None:
        """Take API keys, which begin with `start`, for access tokens; `read` is asked for each."""
        self._keys = start, read

    def resolve_user(self) -> Principal:
        """Return the principal of the access token, without raising: open routes ask, too."""
        return self.read(TokenType.ACCESS)

    def read(self, kind: TokenType) -> Principal:
        """Return the principal of a token in the Authorization header, else in its cookie."""
        headers = request_state().request.headers.getlist("Authorization")
        if len(headers) > 1:
            return Principal(problem=INVALID)
        # A Bearer wins over the cookie, even a bad one. Other schemes are for a proxy.
        if headers and headers[0][:6].lower() == "bearer":
            bearer = _BEARER.fullmatch(headers[0])
            if bearer is None:
                return Principal()
            keys = self._keys
            if keys and kind is TokenType.ACCESS and bearer[1].startswith(keys[0]):
                return keys[1](bearer[1])
            return self._verify(kind, bearer[1])
        values = cookies.TOKENS[kind].sent()
        if len(values) > 1:
            return Principal(problem=INVALID, by_cookie=True)
        return self._verify(kind, values[0], by_cookie=True) if values else Principal()

    def _verify(self, kind: TokenType, token: str, *, by_cookie: bool = False) -> Principal:
        try:
            claims = self.tokens.verify(kind, token)
        except ExpiredToken:
            return Principal(problem=EXPIRED, by_cookie=by_cookie)
        except InvalidToken:
            return Principal(problem=INVALID, by_cookie=by_cookie)
        bind_user(str(claims.user_id))
        # Without an account the token is invalid.
        return Principal(claims, INVALID, by_cookie=by_cookie)

    def load_user(self) -> Principal:
        """Return the request's principal, resolved at the first call."""
        state = request_state()
        if state.principal is None:
            state.principal = self.resolve_user()
        return cast(Principal, state.principal)

    def login_user(self, user: AuthUser) -> None:
        """Set the request's principal."""
        request_state().principal = user

    async def after_request(self, response: Response) -> Response:
        """Return the response; quart-auth's own method would verify every token again."""
        return response


def tokens() -> Tokens:
    """Return the application's tokens."""
    return request_state().app.component(Tokens)


def csrf_tokens() -> CsrfTokens:
    """Return the application's CSRF tokens."""
    return request_state().app.component(CsrfTokens)


def passwords() -> Passwords:
    """Return the application's password hashing."""
    return request_state().app.component(Passwords)


def caller() -> Principal:
    """Return the current request's principal."""
    return _auth().load_user()


def _auth() -> TokenAuth:
    return request_state().app.component(TokenAuth)


def user_key(route: Callable[..., object]) -> str | None:
    """Return the key that a route's limit counts the caller's account by, or None, without a query.

    None for an API key on a route that is closed to keys: who stole one must not use up what its
    owner needs to revoke it.
    """
    principal = caller()
    auth_id = principal.auth_id
    if principal.sent_key and getattr(route, SCOPES_ATTRIBUTE, None) == CLOSED:
        return None
    return f"user:{auth_id}" if auth_id else None


def refresh_caller() -> Principal:
    """Return the refresh token's principal. Raises Unauthorized (401) or CsrfRefused (403)."""
    auth = _auth()
    principal = auth.read(TokenType.REFRESH)
    auth.login_user(principal)
    if principal.by_cookie:
        after_this_request(_clear_refused_cookies)
    if principal.auth_id is None:
        raise Unauthorized
    principal.check_permission()
    return principal


async def _clear_refused_cookies(response: ResponseTypes) -> ResponseTypes:
    if response.status_code == 401 and isinstance(response, Response):
        return clear_cookies(response)
    return response


def clear_cookies(response: Response) -> Response:
    """Delete the cookies of a caller that one of them authenticated."""
    if caller().by_cookie:
        for cookie in cookies.ALL:
            cookie.clear(response)
    return response


async def _unauthorized(_error: Unauthorized) -> Response:
    problem = caller().problem
    challenge = "Bearer"
    if problem != MISSING:
        challenge = f'Bearer error="invalid_token", error_description="{problem}"'
    return error_response(401, problem, headers={"WWW-Authenticate": challenge})


def init_app(app: Service) -> None:
    """Authenticate the caller of every request, and hash passwords while the application serves.

    Raises SettingsError for unusable keys.
    """
    auth = TokenAuth(Tokens(app.settings))
    auth.init_app(app)
    for component in (auth, auth.tokens, CsrfTokens(app.settings), Passwords(), LoginTimes()):
        app.add_component(component)
    app.metrics.add_gauge(
        "password_hashes_pending",
        "Passwords that are being hashed, or wait for it.",
        lambda: app.component(Passwords).waiting,
    )
    app.metrics.add_query_gauge(
        "signing_key_age_seconds",
        "How long ago the file of each signing key was written.",
        ("kid",),
        auth.tokens.keys.ages,
        missing=None,
    )
    app.register_error_handler(Unauthorized, _unauthorized)

    @app.while_serving
    async def follow_keys() -> AsyncGenerator[None, None]:
        async with auth.tokens.keys.followed():
            yield

    @app.after_serving
    async def stop_hashing() -> None:
        app.component(Passwords).close()
