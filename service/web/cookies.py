"""Cookies: set, read and cleared (RFC 6265bis)."""

from dataclasses import dataclass

from quart import Response, request

from service.settings import Environment
from service.web.request_state import request_state


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie of this host; scripts can read only a `readable` one."""

    name: str
    path: str = "/"
    readable: bool = False

    def sent(self) -> list[str]:
        """Return the request's values: several if a sibling domain or another path set one, too."""
        return request.cookies.getlist(self.name)

    def put(self, response: Response, value: str, max_age: int) -> None:
        """Set the cookie in the browser for `max_age` seconds."""
        # Lax: following a link from another site sends the cookie, its forms and scripts do not.
        response.set_cookie(
            self.name, value, max_age, path=self.path,
            secure=_secure(), httponly=not self.readable, samesite="Lax",
        )  # fmt: skip

    def clear(self, response: Response) -> None:
        """Delete the cookie from the browser."""
        response.delete_cookie(
            self.name, self.path, None, _secure(), not self.readable, samesite="Lax"
        )


def _secure() -> bool:
    """Whether cookies are sent over TLS only: always, except for development over http.

    In production a proxy may connect to the service by http, and to the browser by TLS.
    """
    environment = request_state().app.settings.service_env
    return environment is not Environment.DEVELOPMENT or request.is_secure
