"""The choice of a server."""

from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from typing import Final

from hypercorn.config import Config

from service.settings import ServerName
from service.web.server.application import Service

Serve = Callable[[Service, Config], Coroutine[None, None, None]]

_OF_UVICORN: Final = ("uvicorn", "httptools")


class ServerMissing(Exception):
    """The server is not installed; the message names the extra."""


def load_server(name: ServerName) -> Serve:
    """Return the function that serves by a server. Raises ServerMissing."""
    if name == "hypercorn":
        from service.web.server.hypercorn.serve import serve as serve_by_hypercorn

        return serve_by_hypercorn
    if missing := [module for module in _OF_UVICORN if find_spec(module) is None]:
        raise ServerMissing(
            f"Not installed: {', '.join(missing)}. Install the extra, service[uvicorn]."
        )
    from service.web.server.uvicorn.serve import serve as serve_by_uvicorn

    return serve_by_uvicorn
