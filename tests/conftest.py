"""What this suite adds to the service's own pytest plugin (service/testing/).

Each test gets a database of its own, so that tests run in any order and in parallel.
"""

import logging
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast, get_args

import asyncpg
import pytest
import structlog
from click.testing import CliRunner, Result

from service.cli import main
from service.db.database import Database
from service.embedded_postgres import EmbeddedPostgres
from service.settings import ServerName, Settings
from service.testing.application import make_settings, running, working
from service.testing.background import BackgroundLoop
from service.testing.clock import Clock
from service.testing.database import Databases, ServiceDatabase
from service.web.server.application import Service
from tests.support.client import Client
from tests.support.command import FROM_OUTSIDE, Invoke
from tests.support.locales import LOCALES
from tests.support.postgres import Server
from tests.support.replication import migrate, replicated
from tests.support.round_trips import Trips
from tests.support.smtp import SmtpServer, smtp_server
from tests.support.system_postgres import system_postgres

# As in the service: the prettier tracebacks show local variables, which takes seconds for many.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


@pytest.fixture(scope="session")
def icu_databases(_service_loop: BackgroundLoop) -> Iterator[Databases]:
    """Databases on the system's PostgreSQL."""
    with system_postgres() as server:
        databases = Databases(cast(EmbeddedPostgres, server), _service_loop)
        yield databases
        databases.close()


@pytest.fixture(scope="session", params=LOCALES)
async def anywhere(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Client]:
    """A client of an application on a database of some locale."""
    server, options = request.param
    databases: Databases = request.getfixturevalue(server)
    data_dir = tmp_path_factory.mktemp("locale")
    with databases.database(options=options) as database:
        async with running(make_settings(database_url=database.url, data_dir=data_dir)) as app:
            yield Client(app)


@pytest.fixture
def database_url(service_database: ServiceDatabase) -> str:
    """A fresh, migrated database."""
    return service_database.url


@pytest.fixture
def empty_url(service_databases: Databases) -> Iterator[str]:
    """A database with nothing in it."""
    with service_databases.database(migrated=False) as database:
        yield database.url


@pytest.fixture
async def db(database_url: str) -> AsyncIterator["asyncpg.Connection"]:
    """A plain connection to the test's database, to look behind the service."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The service's own way to the test's database."""
    opened = Database(settings)
    yield opened
    await opened.close()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """The settings of the application under test; a module may override this fixture."""
    return make_settings(database_url=database_url, data_dir=tmp_path)


@pytest.fixture(scope="session", params=get_args(ServerName))
def server(request: pytest.FixtureRequest) -> ServerName:
    """Each server that `service serve` can use: what all of them promise is tested with each."""
    return cast(ServerName, request.param)


@pytest.fixture
def service_settings(settings: Settings) -> Settings:
    """The plugin's applications have the settings of the module."""
    return settings


@pytest.fixture
def app(service_app: Service) -> Service:
    """The application of one test."""
    return service_app


@pytest.fixture
def client(app: Service) -> Client:
    """A client that is not signed in."""
    return Client(app)


@pytest.fixture
def clock(service_clock: Clock) -> Clock:
    """The service's clock, to be moved."""
    return service_clock


@pytest.fixture(scope="module")
async def pair() -> AsyncIterator[tuple[Server, Server]]:
    """A primary with the schema, and its standby."""
    with replicated() as nodes:
        await migrate(nodes[0].url())
        yield nodes


@pytest.fixture
async def smtp() -> AsyncIterator[SmtpServer]:
    """A mail server; a module that mails names it in its settings."""
    async with smtp_server() as server:
        yield server


@pytest.fixture
async def worker(settings: Settings) -> AsyncIterator[None]:
    """A worker, at work until the test ends."""
    async with working(settings):
        yield


@pytest.fixture(scope="session")
async def shared_app(
    service_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """One application for the tests that do not mind what others write."""
    data_dir = tmp_path_factory.mktemp("shared")
    with service_databases.database() as database:
        async with running(make_settings(database_url=database.url, data_dir=data_dir)) as app:
            yield app


@pytest.fixture(scope="session")
def anyone(shared_app: Service) -> Client:
    """A client of the shared application that is not signed in."""
    return Client(shared_app)


@pytest.fixture(scope="session")
async def member(anyone: Client) -> Client:
    """A signed-in client of the shared application."""
    return await anyone.sign_up()


@pytest.fixture
def trips(app: Service) -> Trips:
    """The round trips between the application and its database."""
    return Trips(app.database.engine)


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Invoke]:
    """Run a command with these settings and no others; what it does to the process is undone."""
    for name in FROM_OUTSIDE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    root, handler = logging.getLogger(), signal.getsignal(signal.SIGTERM)
    handlers, level, config = list(root.handlers), root.level, structlog.get_config()
    configure = structlog.configure
    # A logger that is first used meanwhile would keep the command's configuration for good.
    monkeypatch.setattr(
        structlog,
        "configure",
        lambda **values: configure(**values | {"cache_logger_on_first_use": False}),
    )

    def run(*arguments: str, **settings: object) -> Result:
        environment = {"DATA_DIR": str(tmp_path)}
        environment |= {name.upper(): str(value) for name, value in settings.items()}
        return CliRunner(env=environment).invoke(main, arguments, prog_name="service")

    yield run
    root.handlers, root.level = handlers, level
    configure(**config)
    signal.signal(signal.SIGTERM, handler)
