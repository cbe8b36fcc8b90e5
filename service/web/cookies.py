"""Cookies: how the service sets, reads and clears them (RFC 6265bis)."""

from dataclasses import dataclass

from quart import Response, request

from service.settings import Environment
from service.web.request_state import request_state


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie of this host; only a readable one is shown to scripts."""

    name: str
    path: str = "/"
    readable: bool = False

    def sent(self) -> list[str]:
        """What the request has under this name.

        More than one, when a neighbouring domain or path planted its own beside ours.
        """
        return request.cookies.getlist(self.name)

    def put(self, response: Response, value: str, max_age: int) -> None:
        """Set it, for `max_age` seconds."""
        # Lax: no foreign site's form or script sends it; following a link does.
        response.set_cookie(
            self.name,
            value,
            max_age=max_age,
            path=self.path,
            secure=_secure(),
            httponly=not self.readable,
            samesite="Lax",
        )

    def clear(self, response: Response) -> None:
        """Take it away from the browser."""
        response.delete_cookie(
            self.name,
            path=self.path,
            secure=_secure(),
            httponly=not self.readable,
            samesite="Lax",
        )


def _secure() -> bool:
    """Whether cookies travel over TLS alone: always, but in development over http.

    Elsewhere a proxy may speak http with the service and TLS with the browser.
    """
    environment = request_state().app.settings.service_env
    return environment is not Environment.DEVELOPMENT or request.is_secure
