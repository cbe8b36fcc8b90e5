"""The fixtures. What they need is imported when a test asks for them, not before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from service.settings import Settings
    from service.testing.background import BackgroundLoop
    from service.testing.client import Client
    from service.testing.clock import Clock
    from service.testing.database import Databases, ServiceDatabase
    from service.testing.mails import Mails, SmtpServer
    from service.testing.server import Server
    from service.web.server.application import Service


@pytest.fixture(scope="session")
def _service_loop() -> Iterator[BackgroundLoop]:
    """An event loop in a thread, for what runs beside the tests."""
    from service.testing.background import BackgroundLoop
    from service.testing.logs import logged_by_logging

    with logged_by_logging():
        loop = BackgroundLoop()
        yield loop
        loop.close()


@pytest.fixture(scope="session")
def service_databases(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    _service_loop: BackgroundLoop,
) -> Iterator[Databases]:
    """One PostgreSQL for the run, however many processes it has: it makes databases."""
    from service.testing.database import run_databases

    folder = tmp_path_factory.getbasetemp()
    # pytest-xdist gives each of its processes a folder of its own in that of the run.
    run = folder.parent if hasattr(request.config, "workerinput") else folder
    with run_databases(run, _service_loop) as databases:
        yield databases


@pytest.fixture
def service_database(service_databases: Databases) -> Iterator[ServiceDatabase]:
    """A migrated database of the test's own; its `url` is what DATABASE_URL takes."""
    with service_databases.database() as database:
        yield database


@pytest.fixture
def service_settings_overrides() -> dict[str, object]:
    """Settings of the service that differ from those for tests, by name; to be overridden."""
    return {}


@pytest.fixture
def service_settings(
    service_database: ServiceDatabase,
    service_settings_overrides: dict[str, object],
    _service_socket: socket.socket,
    _service_smtp: SmtpServer,
    tmp_path: Path,
) -> Settings:
    """The settings of the service under test."""
    from service.testing.application import make_settings

    values = {
        "database_url": service_database.url,
        "data_dir": tmp_path,
        "port": _service_socket.getsockname()[1],
        "smtp_url": _service_smtp.url,
    }
    return make_settings(**{**values, **service_settings_overrides})


@pytest.fixture
def service_app(request: pytest.FixtureRequest, service_settings: Settings) -> Service:
    """The application, started, in the test's event loop."""
    marker = request.node.get_closest_marker("asyncio")
    scope = marker.kwargs.get("loop_scope") if marker else None
    scope = scope or request.config.getini("asyncio_default_test_loop_scope")
    app: Service = request.getfixturevalue(f"_service_app_in_{scope}_loop")
    return app


def _app_in(scope: Any) -> Callable[..., Any]:
    @pytest_asyncio.fixture(loop_scope=scope, name=f"_service_app_in_{scope}_loop")
    async def app(service_settings: Settings) -> AsyncIterator[Service]:
        from service.testing.application import running

        async with running(service_settings) as running_app:
            yield running_app

    return app


# A fixture runs in a loop of fixed scope, and the application must be in the loop of its test.
_app_in_function_loop = _app_in("function")
_app_in_class_loop = _app_in("class")
_app_in_module_loop = _app_in("module")
_app_in_package_loop = _app_in("package")
_app_in_session_loop = _app_in("session")


@pytest.fixture
def service_client(service_app: Service) -> Client:
    """A client of the application that is not signed in."""
    from service.testing.client import Client

    return Client(service_app)


@pytest.fixture
def service_server(
    service_settings: Settings, _service_socket: socket.socket, _service_loop: BackgroundLoop
) -> Iterator[Server]:
    """The service on a port of 127.0.0.1, an application of its own in a thread."""
    from service.testing.application import make_app
    from service.testing.server import Server, serving

    with _service_loop.entered(serving(make_app(service_settings), _service_socket)) as port:
        yield Server(port)


@pytest.fixture
def service_mails(
    service_settings: Settings, _service_smtp: SmtpServer, _service_loop: BackgroundLoop
) -> Iterator[Mails]:
    """What the service sends, by a worker that does its jobs until the test ends."""
    from service.testing.application import working
    from service.testing.mails import Mails

    with _service_loop.entered(working(service_settings)):
        yield Mails(_service_smtp, _service_loop)


@pytest.fixture
def service_clock() -> Iterator[Clock]:
    """The service's clock, to be moved."""
    from service.testing.clock import movable_clock

    with movable_clock() as clock:
        yield clock


@pytest.fixture
def _service_socket() -> Iterator[socket.socket]:
    """The port that links in mails lead to, whether it is served or not."""
    from service.testing.server import bound_socket

    with bound_socket() as bound:
        yield bound


@pytest.fixture
def _service_smtp(_service_loop: BackgroundLoop) -> Iterator[SmtpServer]:
    """A mail server, which takes no mail unless a worker is at work."""
    from service.testing.mails import smtp_server

    with _service_loop.entered(smtp_server()) as server:
        yield server
