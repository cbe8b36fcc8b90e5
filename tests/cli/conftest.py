"""The `service` command in this process, and databases for it."""

import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import structlog
from click.testing import CliRunner, Result

from service.cli import main
from service.embedded_postgres import EmbeddedPostgres
from tests.cli.process import FROM_OUTSIDE

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Invoke]:
    """Run a command with these settings and no others; what it does to the process is undone."""
    for name in FROM_OUTSIDE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    root, handler = logging.getLogger(), signal.getsignal(signal.SIGTERM)
    handlers, level, config = list(root.handlers), root.level, structlog.get_config()

    def run(*arguments: str, **settings: object) -> Result:
        environment = {"DATA_DIR": str(tmp_path)}
        environment |= {name.upper(): str(value) for name, value in settings.items()}
        return CliRunner(env=environment).invoke(main, arguments, prog_name="service")

    yield run
    root.handlers, root.level = handlers, level
    structlog.configure(**config)
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
async def empty_url(postgres: EmbeddedPostgres, admin: "asyncpg.Connection") -> AsyncIterator[str]:
    """A database with nothing in it."""
    name = f"empty_{uuid4().hex}"
    await admin.execute(f"CREATE DATABASE {name}")
    yield postgres.url(name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
