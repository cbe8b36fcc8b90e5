"""What every test may ask for: a database of its own, the application on it, and clients.

Each test gets a clone of a migrated template on a real PostgreSQL; nothing is shared between
tests, so that they run in any order and in parallel.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import structlog
from argon2 import PasswordHasher
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from service.app import create_app
from service.auth.passwords import Passwords
from service.db import migrations
from service.embedded_postgres import EmbeddedPostgres, start
from service.settings import Environment, Settings
from service.web.server.application import Service
from service.worker.worker import WorkerTiming, run_worker
from tests.client import Client
from tests.moving import Clock, hold
from tests.smtp import SmtpServer, smtp_server

# As in the service: the prettier tracebacks show local variables, which takes seconds for many.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)
# A worker that does not keep a test waiting.
FAST = WorkerTiming(first_retry=0.05, longest_retry=0.2, order=0.05, poll=0.2, heartbeat_timeout=1)
SECRET = "a secret that is only good for tests, and long enough"
MEMORY = Path("/dev/shm")
ROOM = 4 * 2**30  # bytes
# Real argon2id, with the least work it can do: most tests are about something else.
QUICK_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture(scope="session")
def postgres(
    tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Iterator[EmbeddedPostgres]:
    """One PostgreSQL for the whole run, however many workers."""
    base = tmp_path_factory.getbasetemp()
    run = (base if worker_id == "master" else base.parent).name
    # Not below pytest's own folder, which only its user may enter: root's server is another user.
    folder = _fast_folder() / f"service-{os.getuid()}-{run}"
    folder.mkdir(mode=0o711, exist_ok=True)
    with start(folder, durable=False) as server:
        yield server
    last_one_out = not (server.data_dir / "data" / "postmaster.pid").exists()
    if last_one_out:
        shutil.rmtree(folder)


def _fast_folder() -> Path:
    """In memory where there is room: hundreds of databases are made and dropped."""
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM:
        return MEMORY
    return Path(tempfile.gettempdir())


@pytest.fixture(scope="session")
async def admin(postgres: EmbeddedPostgres) -> AsyncIterator["asyncpg.Connection"]:
    """A connection that makes and drops databases."""
    connection = await asyncpg.connect(postgres.url("postgres"))
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
async def template(postgres: EmbeddedPostgres, admin: "asyncpg.Connection", worker_id: str) -> str:
    """The name of a migrated database that nobody is connected to."""
    name = f"template_{worker_id}"
    await admin.execute(f"CREATE DATABASE {name}")
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: asyncpg.connect(postgres.url(name)),
        poolclass=NullPool,
    )
    await migrations.upgrade(engine)
    await engine.dispose()
    return name


@pytest.fixture
async def database_url(
    postgres: EmbeddedPostgres, admin: "asyncpg.Connection", template: str
) -> AsyncIterator[str]:
    """A fresh, migrated database."""
    name = f"test_{uuid4().hex}"
    # A tenth of the time that copying through the write-ahead log takes.
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield postgres.url(name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def db(database_url: str) -> AsyncIterator["asyncpg.Connection"]:
    """A plain connection to the test's database, to look behind the service."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """The settings of the application under test; a module may override this fixture."""
    return make_settings(database_url=database_url, data_dir=tmp_path)


def make_settings(**values: object) -> Settings:
    """Settings for tests, not read from the environment."""
    defaults: dict[str, object] = {
        "service_env": Environment.TESTING,
        "secret_key": SECRET,
        "database_pool_size": 5,
        "ratelimit_enabled": False,
    }
    return Settings.model_validate({**defaults, **values})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The service's clock, to be moved."""
    return hold(monkeypatch)


@pytest.fixture
async def smtp() -> AsyncIterator[SmtpServer]:
    """A mail server; a module that mails names it in its settings."""
    async with smtp_server() as server:
        yield server


@pytest.fixture
async def worker(settings: Settings) -> AsyncIterator[None]:
    """A worker, at work until the test ends."""
    stop = asyncio.Event()
    task = asyncio.create_task(run_worker(settings, stop, FAST))
    yield
    stop.set()
    await task


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Service]:
    """The application, started and, at the end, stopped."""
    application = create_app(settings)
    async with application.test_app():
        application.add_component(Passwords(hasher=QUICK_HASHER))
        yield application


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[Service]:
    """The application of one test."""
    async with running(settings) as application:
        yield application


@pytest.fixture
def client(app: Service) -> Client:
    """A client that is not signed in."""
    return Client(app)


@pytest.fixture(scope="session")
async def shared_app(
    postgres: EmbeddedPostgres,
    admin: "asyncpg.Connection",
    template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Service]:
    """One application for the tests that do not mind what others write."""
    name = f"shared_{uuid4().hex}"
    # A tenth of the time that copying through the write-ahead log takes.
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    data_dir = tmp_path_factory.mktemp("shared")
    async with running(
        make_settings(database_url=postgres.url(name), data_dir=data_dir)
    ) as application:
        yield application


@pytest.fixture(scope="session")
def anyone(shared_app: Service) -> Client:
    """A client of the shared application that is not signed in."""
    return Client(shared_app)


@pytest.fixture(scope="session")
async def member(anyone: Client) -> Client:
    """A signed-in client of the shared application."""
    return await anyone.sign_up()


class Trips:
    """What the application sends to PostgreSQL, the driver's own BEGIN and COMMIT included."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.sent: list[str] = []
        event.listen(engine.sync_engine, "checkout", self._watch)
        event.listen(engine.sync_engine, "before_cursor_execute", self._note_statement)

    async def during(self, request: Any) -> list[str]:
        """The first word of each statement that a successful request sends, sorted."""
        self.sent.clear()
        answer = await request
        assert answer.status < 400, answer.body
        # asyncpg tells its loggers in the loop's next turn.
        await asyncio.sleep(0)
        return sorted(self.sent)

    def _watch(self, connection: Any, *_: object) -> None:
        # Prepared statements do not come here: those SQLAlchemy tells.
        connection.driver_connection.add_query_logger(self._note_query)

    def _note_query(self, record: Any) -> None:
        self._note(record.query)

    def _note_statement(self, _connection: Any, _cursor: Any, statement: str, *_: object) -> None:
        self._note(statement)

    def _note(self, statement: str) -> None:
        self.sent.append(statement.split()[0].rstrip(";"))


@pytest.fixture
def trips(app: Service) -> Trips:
    """The round trips between the application and its database."""
    return Trips(app.database.engine)
