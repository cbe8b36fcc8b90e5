"""The cookies that hold a browser's tokens."""

from collections.abc import Mapping
from typing import Final

from service.auth.tokens import TokenType
from service.web.cookies import Cookie

CSRF: Final = Cookie("csrf_token", readable=True)
# The refresh token is sent only where it is needed.
TOKENS: Final[Mapping[TokenType, Cookie]] = {
    TokenType.ACCESS: Cookie("access_token"),
    TokenType.REFRESH: Cookie("refresh_token", path="/auth"),
}
ALL: Final = (*TOKENS.values(), CSRF)
