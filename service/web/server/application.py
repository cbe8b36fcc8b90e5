"""Quart with this service's request, response and connection, and without what it does not use.

Each override is one of Quart's own extension points, and there for its cost on every request.
"""

from collections.abc import Callable
from inspect import CO_COROUTINE
from typing import Any, Final, TypeVar, cast

from quart import Quart
from quart.sessions import NullSession, SessionInterface, SessionMixin
from quart.wrappers.base import BaseRequestWebsocket
from werkzeug.routing import MapAdapter

from service.db.database import Database
from service.observability.metrics import Metrics
from service.settings import Settings
from service.web.limiter import Limiter
from service.web.server.connection import HTTPConnection, WebsocketConnection
from service.web.server.request import ApiRequest
from service.web.server.shutdown import Shutdown

T = TypeVar("T")


class NoCookieSessions(SessionInterface):
    """Quart's signed-cookie sessions, left out: callers are known by tokens."""

    async def open_session(
        self, _app: Quart, _request: BaseRequestWebsocket
    ) -> SessionMixin | None:
        return NullSession()

    def is_null_session(self, _instance: object) -> bool:
        return True


class Service(Quart):
    """The application, with the parts that it is made of.

    The parts that HTTP mechanisms need are attributes; those of features are components, known by
    their class.
    """

    request_class = ApiRequest
    asgi_http_class = HTTPConnection
    asgi_websocket_class = WebsocketConnection
    session_interface: SessionInterface = NoCookieSessions()  # type: ignore[assignment]

    def __init__(self, settings: Settings) -> None:
        super().__init__("service", static_folder=None)
        self.settings: Final = settings
        self.database: Final = Database(settings)
        self.metrics: Final = Metrics()
        self.shutdown_state: Final = Shutdown()
        self.limiter: Final = Limiter(settings)
        self._components: dict[type, object] = {}

    def add_component(self, component: object) -> None:
        """Keep a feature's part of the application, in place of an earlier one of its class."""
        self._components[type(component)] = component

    def component(self, kind: type[T]) -> T:
        """Return the part of this class. Raises KeyError when there is none."""
        return cast(T, self._components[kind])

    def ensure_async(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Let functions that are not asynchronous run in a thread.

        Quart looks for partials and marks as well, at ten times the cost, a dozen times a request.
        """
        code = getattr(func, "__code__", None)
        if code is not None and code.co_flags & CO_COROUTINE:
            return func
        return super().ensure_async(func)

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        """Match paths whatever the host: Quart takes it apart three times first."""
        if request is None:
            return super().create_url_adapter(None)
        return self.url_map.bind(
            "", url_scheme=request.scheme, default_method=request.method, path_info=request.path
        )
