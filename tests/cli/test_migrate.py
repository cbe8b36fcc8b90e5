"""`service migrate`."""

import socket
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from service.db.schema_version import head_revision
from service.testing.database import Databases
from tests.support.command import Invoke, started


def test_migrate_lists_what_ran_and_then_that_nothing_is_left(
    invoke: Invoke, empty_url: str
) -> None:
    head = head_revision()
    first = invoke("migrate", database_url=empty_url)
    assert first.exit_code == 0, first.output
    lines = first.stdout.splitlines()
    assert lines[0].startswith("Migrated from an empty database to ")
    assert lines[-1].endswith(f" to {head}.")
    again = invoke("migrate", database_url=empty_url)
    assert (again.exit_code, again.stdout) == (0, "The schema is at head already.\n")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_migrate_refuses_a_database_that_is_not_in_utf8(
    invoke: Invoke, service_databases: Databases, encoding: str
) -> None:
    options = f"ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    with service_databases.database(migrated=False, options=options) as database:
        refused = invoke("migrate", database_url=database.url)
    assert refused.exit_code == 1
    assert "nothing was changed" in refused.output
    assert f"encoding is {encoding}, and must be UTF8" in refused.output


def test_migrate_without_database_url_migrates_the_embedded_database(invoke: Invoke) -> None:
    assert "Migrated from an empty database" in invoke("migrate").stdout
    assert invoke("migrate").stdout == "The schema is at head already.\n"


def forward(source: socket.socket, target: socket.socket) -> None:
    """Pass on what comes, to its end."""
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def serve_by_tcp(server: socket.socket, path: str) -> None:
    """Let clients reach the database's socket by TCP, until the server is shut down."""
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            threading.Thread(target=serve_client, args=(client, path)).start()


def serve_client(client: socket.socket, path: str) -> None:
    """Let a client reach the database's socket."""
    with client, socket.socket(socket.AF_UNIX) as database:
        database.connect(path)
        back = threading.Thread(target=forward, args=(database, client))
        back.start()
        forward(client, database)
        back.join()


def test_migrate_waits_for_a_database_that_is_starting(empty_url: str, tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))  # not listening: nobody answers there
        by_socket = urlsplit(empty_url)
        url = f"postgresql://service@127.0.0.1:{server.getsockname()[1]}{by_socket.path}"
        with started("migrate", cwd=tmp_path, database_url=url, data_dir=tmp_path) as process:
            process.until("waiting for the database at 127.0.0.1:", errors=True)
            server.listen()
            path = f"{parse_qs(by_socket.query)['host'][0]}/.s.PGSQL.5432"
            serving = threading.Thread(target=serve_by_tcp, args=(server, path))
            serving.start()
            code, output = process.finish()
            server.shutdown(socket.SHUT_RDWR)
            serving.join()
    assert code == 0
    assert output.startswith("Migrated from an empty database to ")
