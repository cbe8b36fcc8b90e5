"""Quart with a request and a connection of its own, and without cookie sessions.

Every override is an extension point of Quart, and saves time on each request.
"""

from collections.abc import Callable, Mapping
from inspect import CO_COROUTINE
from typing import Any, Final, TypeVar, cast

from quart import Quart
from quart.sessions import NullSession, SessionInterface, SessionMixin
from quart.wrappers.base import BaseRequestWebsocket
from werkzeug.routing import MapAdapter

from service import clock
from service.db.checks import Check, synchronous
from service.db.cluster import cluster_mismatch
from service.db.database import Database
from service.db.replica.replica import Replica
from service.db.schema_version import head_revision
from service.observability.metrics import Metrics
from service.observability.process_metrics import ProcessMetrics
from service.settings import Settings
from service.web.limiter import Limiter
from service.web.request_metrics import RequestMetrics
from service.web.server.connection import HTTPConnection, WebsocketConnection
from service.web.server.open_connections import OpenConnections
from service.web.server.request import ApiRequest
from service.web.server.shutdown import Shutdown

T = TypeVar("T")


class NoCookieSessions(SessionInterface):
    """No sessions by signed cookies, because tokens authenticate callers."""

    async def open_session(
        self, _app: Quart, _request: BaseRequestWebsocket
    ) -> SessionMixin | None:
        return NullSession()

    def is_null_session(self, _instance: object) -> bool:
        return True


class Service(Quart):
    """The application, with its parts.

    What HTTP mechanisms need are attributes; what features need are components, one per class.
    """

    request_class = ApiRequest
    asgi_http_class = HTTPConnection
    asgi_websocket_class = WebsocketConnection
    session_interface: SessionInterface = NoCookieSessions()  # type: ignore[assignment]

    def __init__(self, settings: Settings) -> None:
        super().__init__("service", static_folder=None)
        self.settings: Final = settings
        self.replica: Final = Replica(settings) if settings.database_replica_url else None
        observe = self.replica.watcher.note_primary if self.replica else None
        self.database: Final = Database(settings, observe)
        self.metrics: Final = Metrics()
        self.request_metrics: Final = RequestMetrics(self.metrics)
        self.process_metrics: Final = ProcessMetrics(self.metrics, head_revision())
        self.connections: Final = OpenConnections(self.metrics)
        self.shutdown_state: Final = Shutdown(settings.drain_seconds)
        self.limiter: Final = Limiter(settings)
        self._components: dict[type, object] = {}
        self.started_at: Final = clock.now()
        self._readiness_checks: dict[str, Check] = {}

    def add_component(self, component: object) -> None:
        """Add a feature's part of the application; it replaces an earlier one of its class."""
        self._components[type(component)] = component

    def component(self, kind: type[T]) -> T:
        """Return the component of a class. Raises KeyError when there is none."""
        return cast(T, self._components[kind])

    def add_readiness_check(self, name: str, check: Check) -> None:
        """Add what a feature needs of the database; it is asked at every check of readiness."""
        self._readiness_checks[name] = check

    @property
    def readiness_checks(self) -> Mapping[str, Check]:
        """What must hold of the database for requests to be served, by name, in order."""
        cluster = {"cluster": synchronous(cluster_mismatch)}
        return {**self.database.checks, **cluster, **self._readiness_checks}

    def ensure_async(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function itself, or one that runs it in a thread if it is synchronous.

        Quart calls this a dozen times a request, and its own test, which also covers partials and
        marked functions, costs ten times as much.
        """
        code = getattr(func, "__code__", None)
        if code is not None and code.co_flags & CO_COROUTINE:
            return func
        return super().ensure_async(func)

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        """Return a router that ignores the host, which Quart would parse three times."""
        if request is None:
            return super().create_url_adapter(None)
        # Methods differ by case (RFC 9110, §9.1), but werkzeug looks for them in capitals.
        method = request.method if request.method.isupper() else f"{request.method} in lower case"
        return self.url_map.bind(
            "", url_scheme=request.scheme, default_method=method, path_info=request.path
        )
