"""What can be set right is told in one sentence, without a traceback or a secret."""

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from click.testing import Result

from service import embedded_postgres
from service.testing.database import Databases
from tests.support.command import PRODUCTION, Invoke
from tests.support.embedded import guard

PASSWORD = "hunter2-is-secret"


def assert_told(result: Result, *words: str) -> None:
    """One line that has the words, code 1, and nothing that should not be seen."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout in ("", "Stopped.\n")
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert PASSWORD not in result.output
    for word in words:
        assert word in result.stderr


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_taken_port_is_reported_before_the_database_is_touched(
    invoke: Invoke, taken: int, tmp_path: Path
) -> None:
    result = invoke("run", port=taken, data_dir=tmp_path / "data")
    assert_told(result, f"Port {taken} on 127.0.0.1 is taken")
    assert not (tmp_path / "data" / "postgres").exists()


def test_port_for_a_worker_s_metrics_that_is_taken_is_reported_by_its_setting(
    invoke: Invoke, taken: int
) -> None:
    bind = f"127.0.0.1:{taken}"
    url = "postgresql://nobody@127.0.0.1:1/nowhere"
    result = invoke("worker", database_url=url, worker_metrics_bind=bind)
    assert_told(result, f"WORKER_METRICS_BIND: Address already in use: {bind}")


@pytest.mark.parametrize("host", ["203.0.113.9", "no-such-host.invalid"])
def test_foreign_host_is_reported(invoke: Invoke, host: str) -> None:
    assert_told(invoke("run", port=0, host=host), f"HOST: {host} is no address of this machine")


def test_port_out_of_range_is_reported(invoke: Invoke) -> None:
    assert_told(invoke("run", port=99_999), "PORT: ", "65535")


@pytest.mark.parametrize("command", [("run",), ("migrate", "--wait=0"), ("demo",)])
def test_unreachable_database_is_reported(invoke: Invoke, command: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # free again in a moment
    url = f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/name"
    result = invoke(*command, port=0, database_url=url)
    assert_told(result, f"No database answers at 127.0.0.1:{port}/name")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"mysql://me:{PASSWORD}@host/name", "DATABASE_URL: must start with one of postgresql://"),
        (f"postgresql://me:{PASSWORD}[@host/name", "DATABASE_URL: is no address"),
        (f"postgresql://me:{PASSWORD}\N{CARE OF}@host/name", "DATABASE_URL: is no address"),
        (
            f"postgresql://me:{PASSWORD}@host:{PASSWORD}/name",
            "DATABASE_URL: takes hosts as host:port",
        ),
    ],
)
@pytest.mark.parametrize("command", ["run", "migrate"])
def test_malformed_database_url_is_reported(
    invoke: Invoke, command: str, url: str, words: str
) -> None:
    assert_told(invoke(command, port=0, database_url=url), words)


def test_missing_database_is_reported(invoke: Invoke, service_databases: Databases) -> None:
    url = service_databases.server.url("not_there")
    result = invoke("run", port=0, database_url=url)
    assert_told(result, "There is no such database", "/not_there")


@pytest.fixture
async def guarded_url(tmp_path: Path) -> AsyncIterator[str]:
    """A database that wants another password."""
    with embedded_postgres.start(tmp_path / "guarded", durable=False) as server:
        yield await guard(server, PASSWORD)


def test_wrong_database_password_is_reported(invoke: Invoke, guarded_url: str) -> None:
    result = invoke("run", port=0, database_url=guarded_url)
    assert_told(result, "refuses the user or the password of DATABASE_URL")


@pytest.fixture
async def occupied_url(db: "asyncpg.Connection", database_url: str) -> str:
    """A database whose tables came from elsewhere."""
    await db.execute("DROP TABLE alembic_version")
    return database_url


@pytest.mark.parametrize("command", ["run", "migrate"])
def test_failed_migration_is_reported(invoke: Invoke, occupied_url: str, command: str) -> None:
    result = invoke(command, port=0, database_url=occupied_url)
    assert_told(result, "The migration failed, and nothing was changed: ", "already exists")


@pytest.fixture
async def newer_url(db: "asyncpg.Connection", database_url: str) -> str:
    """A database that newer code has migrated."""
    await db.execute("UPDATE alembic_version SET version_num = 'tomorrow'")
    return database_url


def test_schema_of_a_newer_version_is_reported(invoke: Invoke, newer_url: str) -> None:
    assert_told(invoke("migrate", database_url=newer_url), "'tomorrow'")


def test_data_dir_that_is_a_file_is_reported(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = invoke("run", port=0, data_dir=tmp_path / "file")
    assert_told(result, "DATA_DIR: ", str(tmp_path / "file"))


def test_database_that_cannot_be_created_is_reported(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "postgres").touch()
    assert_told(invoke("migrate"), "The embedded PostgreSQL can't run in ", str(tmp_path))


@pytest.mark.parametrize(("name", "value"), [("log_level", "loud"), ("log_format", "xml")])
def test_wrong_log_setting_is_reported(invoke: Invoke, name: str, value: str) -> None:
    assert_told(invoke("migrate", **{name: value}), f"{name.upper()}: ")


@pytest.mark.parametrize(
    ("command", "words"), [("run", "is for development"), ("demo", "does not run in production")]
)
def test_development_commands_refuse_production(
    invoke: Invoke, database_url: str, command: str, words: str
) -> None:
    assert_told(invoke(command, **PRODUCTION, database_url=database_url), words)


@pytest.mark.parametrize("command", ["migrate", "serve", "worker"])
def test_production_without_its_settings_is_reported(invoke: Invoke, command: str) -> None:
    names = ("DATABASE_URL", "SMTP_URL", "MAIL_FROM", "PUBLIC_URL")
    missing = [f"{name}: must be set in production" for name in names]
    assert_told(invoke(command, service_env="production"), *missing)
