"""Who is calling: quart-auth's principal, from a strictly read Authorization header or a cookie.

`login_required` awaits `Principal.is_authenticated`, which looks once per request whether session
and account are live; the 401 that follows tells by RFC 6750 what was wrong with the token.

A browser sends cookies by itself, whoever made it ask: a request that a cookie authenticates and
that may write must show the session's CSRF token, too.
"""

import re
from typing import Final, cast
from uuid import UUID

from quart import Response, after_this_request, request
from quart.typing import ResponseTypes
from quart_auth import AuthUser, QuartAuth, Unauthorized

from service.auth import cookies
from service.auth.callers import find_caller
from service.auth.csrf import HEADER as CSRF_HEADER
from service.auth.csrf import CsrfTokens
from service.auth.errors import AccountDisabled
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
    """The caller of a request; `problem` tells why there is none."""

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
        """Whether the token's session and account are live now, in one statement per request.

        Raises AccountDisabled (403).
        """
        if self._claims is None:
            return False
        if self._account is None:
            # Not the request's own session: a write would begin its transaction here.
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
        """What the token says; only for routes that require a login."""
        if self._claims is None:
            raise Unauthorized
        return self._claims

    @property
    def user_id(self) -> UUID:
        """The caller's id; only for routes that require a login."""
        return self.claims.user_id

    @property
    def account(self) -> UserRow:
        """The caller's account as this request found it; only for routes that require a login."""
        if self._account is None:
            raise Unauthorized
        return self._account

    def check_csrf(self) -> None:
        """Check the CSRF token, where there must be one. Raises CsrfRefused (403)."""
        if self.by_cookie and request.method not in SAFE_METHODS:
            csrf_tokens().check(self.claims.session_id, request.headers.get(CSRF_HEADER, ""))


class TokenAuth(QuartAuth):
    """quart-auth with JWTs, as Bearer or in cookies, instead of its own signed ids."""

    user_class = Principal  # type: ignore[assignment]

    def __init__(self, tokens: Tokens) -> None:
        super().__init__(mode="bearer")
        self.tokens = tokens

    def resolve_user(self) -> Principal:
        """Read the access token; never raises, for open routes come here too."""
        return self.read(TokenType.ACCESS)

    def read(self, kind: TokenType) -> Principal:
        """Read a token of one kind from the Authorization header, else from its cookie."""
        headers = request_state().request.headers
        sent = headers.getlist("Authorization")
        if len(sent) > 1:
            return Principal(problem=INVALID)
        # A bearer wins, be it bad. Other schemes are a proxy's in front of the service.
        if sent and sent[0][:6].lower() == "bearer":
            found = _BEARER.fullmatch(sent[0])
            return self._verify(kind, found[1]) if found else Principal()
        held = cookies.TOKENS[kind].sent()
        if len(held) > 1:
            return Principal(problem=INVALID, by_cookie=True)
        return self._verify(kind, held[0], by_cookie=True) if held else Principal()

    def _verify(self, kind: TokenType, token: str, *, by_cookie: bool = False) -> Principal:
        try:
            claims = self.tokens.verify(kind, token)
        except ExpiredToken:
            return Principal(problem=EXPIRED, by_cookie=by_cookie)
        except InvalidToken:
            return Principal(problem=INVALID, by_cookie=by_cookie)
        bind_user(str(claims.user_id))
        # Should its account turn out to be gone, then the token is what is wrong.
        return Principal(claims, INVALID, by_cookie=by_cookie)

    def load_user(self) -> Principal:
        """The caller, found at the first look."""
        state = request_state()
        if state.principal is None:
            state.principal = self.resolve_user()
        return cast(Principal, state.principal)

    def login_user(self, user: AuthUser) -> None:
        """Let it be this one."""
        request_state().principal = user

    async def after_request(self, response: Response) -> Response:
        """Nothing to do: the stock method would verify every token once more."""
        return response


def tokens() -> Tokens:
    """The application's tokens."""
    return request_state().app.component(Tokens)


def csrf_tokens() -> CsrfTokens:
    """The application's CSRF tokens."""
    return request_state().app.component(CsrfTokens)


def passwords() -> Passwords:
    """The application's password hashing."""
    return request_state().app.component(Passwords)


def caller() -> Principal:
    """The present request's caller."""
    return _auth().load_user()


def _auth() -> TokenAuth:
    return request_state().app.component(TokenAuth)


def user_key() -> str | None:
    """Name the caller that the token tells of, without asking the database; None for nobody."""
    auth_id = caller().auth_id
    return f"user:{auth_id}" if auth_id else None


def refresh_caller() -> Principal:
    """The caller by refresh token. Raises Unauthorized (401) or CsrfRefused (403)."""
    auth = _auth()
    principal = auth.read(TokenType.REFRESH)
    auth.login_user(principal)
    if principal.by_cookie:
        after_this_request(_forget_dead_cookies)
    if principal.auth_id is None:
        raise Unauthorized
    principal.check_csrf()
    return principal


async def _forget_dead_cookies(response: ResponseTypes) -> ResponseTypes:
    if response.status_code == 401 and isinstance(response, Response):
        return forget_cookies(response)
    return response


def forget_cookies(response: Response) -> Response:
    """Take the cookies away from a caller that is known by them."""
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
    """Find the caller of every request, and hash passwords while the application serves.

    Raises SettingsError for unusable keys.
    """
    auth = TokenAuth(Tokens(app.settings))
    auth.init_app(app)
    hashing = Passwords()
    for component in (auth, auth.tokens, CsrfTokens(app.settings), hashing):
        app.add_component(component)
    app.metrics.add_gauge(
        "password_hashes_pending",
        "Passwords that are being hashed, or wait for it.",
        lambda: app.component(Passwords).waiting,
    )
    app.register_error_handler(Unauthorized, _unauthorized)

    @app.after_serving
    async def stop_hashing() -> None:
        app.component(Passwords).close()
