"""What is wrong with the database's TLS is said, by commands and in the log."""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import Result
from structlog.testing import capture_logs

from service.cli.messages import connection_failure
from service.db.failures import failure_reason
from service.errors import Unavailable
from service.observability import context
from service.testing.application import make_settings, running, working
from tests.support import tls_postgres
from tests.support.certificates import UNTRUSTED, make_certificate, server_context
from tests.support.client import Client
from tests.support.command import PRODUCTION, Invoke
from tests.support.polling import until

PASSWORD = "hunter2-is-secret"
COMMANDS: dict[str, tuple[str, ...]] = {
    "migrate": ("migrate",),
    "jobs": ("jobs",),
    "create-admin": ("create-admin", "root@example.com"),
    "reencrypt": ("reencrypt",),
    "import-flask": ("import-flask", "sqlite:////nowhere"),
}


def address(port: int, parameters: str) -> str:
    return f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/name?{parameters}"


def assert_named(result: Result, words: str) -> None:
    """One sentence that names the fault, at once and without the password."""
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert "TLS" in result.stderr
    assert words in result.stderr
    assert "No database answers" not in result.stderr
    assert PASSWORD not in result.output


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A certificate that has signed nothing."""
    folder = tmp_path / "other"
    folder.mkdir()
    return make_certificate(folder)


@pytest.mark.parametrize("kind", UNTRUSTED)
def test_untrusted_certificate_of_the_database_is_named(
    invoke: Invoke, tmp_path: Path, other: Path, kind: str
) -> None:
    certificate = make_certificate(tmp_path, **UNTRUSTED[kind])
    trusted = other if kind == "self-signed" else certificate
    with tls_postgres.answering(tls_postgres.handshake(server_context(certificate))) as port:
        url = address(port, f"sslmode=verify-full&sslrootcert={trusted}")
        assert_named(invoke("migrate", database_url=url), "certificate is not trusted")


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (tls_postgres.refuse, "the server offers no TLS"),
        (tls_postgres.fail, "its log says why"),
        (tls_postgres.babble, "the handshake failed"),
    ],
)
def test_server_without_tls_is_named_by_every_command(
    invoke: Invoke, answer: tls_postgres.Answer, words: str, command: tuple[str, ...]
) -> None:
    with tls_postgres.answering(answer) as port:
        settings = PRODUCTION | {"database_url": address(port, "sslmode=require")}
        assert_named(invoke(*command, **settings), words)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ("sslmode=require&sslrootcert=/nowhere/ca.pem", "sslrootcert can't be read: /nowhere/ca"),
        ("sslmode=verify-full&sslrootcert=/nowhere", "sslrootcert can't be read: /nowhere"),
        ("sslmode=require&sslcert=/nowhere/client.pem", "sslcert can't be read: /nowhere/client"),
        ("sslmode=verify-ca", "root certificate"),
        ("sslmode=require&ssl_min_protocol_version=TLSv9", "TLSv9"),
        ("sslmode=require&sslrootcert={no_certificate}", "the handshake failed"),
    ],
)
def test_wrong_tls_parameter_is_named(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, parameters: str, words: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "text").write_text("no certificate")
    url = address(5432, parameters.format(no_certificate=tmp_path / "text"))
    assert_named(invoke("migrate", database_url=url), words)


def test_server_that_wants_tls_says_so() -> None:
    error = asyncpg.InvalidAuthorizationSpecificationError("no pg_hba.conf entry, no encryption")
    settings = make_settings(database_url=address(5432, ""))
    assert "no encryption" in connection_failure(settings, error).message


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(111, "Connection refused"), ": Connection refused"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"), ": TLS fails: "),
        (asyncpg.TooManyConnectionsError("sorry, too many clients"), ": sorry, too many clients"),
        (asyncpg.InvalidTextRepresentationError('invalid: "hunter2"'), ""),
        (ValueError("hunter2"), ""),
    ],
)
def test_reason_in_the_log_quotes_no_value(error: Exception, reason: str) -> None:
    unavailable = Unavailable()
    unavailable.__cause__ = error
    for each in (error, unavailable):
        assert failure_reason(each).startswith(f"{type(error).__name__}{reason}")
        assert "hunter2" not in failure_reason(each)


@pytest.fixture
def tls_url() -> Iterator[str]:
    """A database whose server offers no TLS, although it must be used."""
    with tls_postgres.answering(tls_postgres.refuse) as port:
        yield address(port, "sslmode=require")


async def test_log_line_of_a_request_names_the_cause(
    tls_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[Any] = []
    monkeypatch.setattr(
        "service.web.telemetry._log_request", lambda _state: lines.append(context.current())
    )
    async with running(make_settings(database_url=tls_url, data_dir=tmp_path)) as app:
        assert (await Client(app).get("/api/posts")).status == 503
    assert "TLS fails: the server offers no TLS" in lines[-1]["reason"]


async def test_log_line_of_the_worker_names_the_cause(tls_url: str, tmp_path: Path) -> None:
    with capture_logs() as lines:
        async with working(make_settings(database_url=tls_url, data_dir=tmp_path)):
            await until(has(lines, "database away, worker starts again"))
    assert any("TLS fails: the server offers no TLS" in line.get("reason", "") for line in lines)


def has(lines: list[Any], event: str) -> Callable[[], Any]:
    async def found() -> bool:
        await asyncio.sleep(0)
        return any(line["event"] == event for line in lines)

    return found
