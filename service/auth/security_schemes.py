"""The security schemes of the OpenAPI document."""

from typing import Final

from service.auth import cookies, csrf
from service.auth.api_keys.scopes import RouteScopes
from service.auth.errors import CsrfRefused
from service.auth.tokens import TokenType
from service.web.openapi import SecurityScheme


def _bearer(name: str, description: str) -> SecurityScheme:
    definition = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    return SecurityScheme(name, {**definition, "description": description})


def _cookie(name: str, kind: TokenType) -> SecurityScheme:
    definition = {
        "type": "apiKey",
        "in": "cookie",
        "name": cookies.TOKENS[kind].name,
        "description": "Set by a login or a refresh with `X-Token-Transport: cookie`.",
    }
    return SecurityScheme(name, definition, CSRF_TOKEN, CsrfRefused)


CSRF_TOKEN: Final = SecurityScheme(
    "csrfToken",
    {
        "type": "apiKey",
        "in": "header",
        "name": csrf.HEADER,
        "description": "The value of the cookie `csrf_token`, which confirms a write by cookie.",
    },
)
ACCESS_TOKEN: Final = _bearer("accessToken", "The `access_token` of a login or a refresh.")
REFRESH_TOKEN: Final = _bearer(
    "refreshToken", "The `refresh_token` of a login or of the last refresh."
)
ACCESS_COOKIE: Final = _cookie("accessCookie", TokenType.ACCESS)
REFRESH_COOKIE: Final = _cookie("refreshCookie", TokenType.REFRESH)
_API_KEY: Final = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key, made by `POST /auth/keys`, that has the scope named.",
}


def api_key(scopes: RouteScopes) -> SecurityScheme:
    """Return the scheme of API keys, for operations that these scopes open."""
    return SecurityScheme("apiKey", _API_KEY, read_role=scopes.read, write_role=scopes.write)
