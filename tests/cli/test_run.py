"""`service run`, with real processes, signals and clients."""

import http.client
import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.support.command import Process, fetch, started
from tests.support.migrating import RUNNERS_WAITING
from tests.support.polling import PATIENCE, until

LIMIT = 2.0  # seconds; on a busy machine as long as the start took


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[Process]:
    """A served application on the test's database."""
    options = {"database_url": database_url, "data_dir": tmp_path, "port": 0}
    with started("run", cwd=tmp_path, **options) as process:
        yield process


def connect(address: str) -> http.client.HTTPConnection:
    """A connection that stays open."""
    parts = urlsplit(address)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)


def send_half(address: str) -> socket.socket:
    """Begin an upload that never ends."""
    parts = urlsplit(address)
    upload = socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE)
    upload.sendall(
        b"POST /auth/register HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b'Content-Length: 1000\r\n\r\n{"email"'
    )
    return upload


def read_blocked(address: str) -> threading.Thread:
    """Begin to read posts, for as long as that takes."""

    def read() -> None:
        connection = connect(address)
        connection.request("GET", "/api/posts")
        with suppress(OSError, http.client.HTTPException):
            connection.getresponse().read()
        connection.close()

    reader = threading.Thread(target=read)
    reader.start()
    return reader


async def until_blocked(db: "asyncpg.Connection[Any]") -> None:
    """Wait for a statement that waits for a lock."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    while not await db.fetchval(waiting):
        await db.execute("SELECT pg_stat_clear_snapshot(), pg_sleep(0.01)")


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.proof)]
)
async def test_run_stops_at_once_whatever_its_clients_do(
    server: Process, db: "asyncpg.Connection[Any]", number: int
) -> None:
    address = server.until("Serving on ")
    idle = connect(address)
    idle.request("GET", "/health/ready")
    assert json.loads(idle.getresponse().read())["status"] == "ok"
    upload = send_half(address)
    transaction = db.transaction()
    await transaction.start()
    await db.execute("LOCK TABLE posts, post_counts")
    reader = read_blocked(address)
    await until_blocked(db)

    limit = max(LIMIT, server.age)
    code, seconds, output, errors = server.end(number)

    await transaction.rollback()
    assert (code, output.splitlines()[-1]) == (0, "Stopped.")
    assert seconds < limit
    assert "Traceback" not in errors
    reader.join()
    idle.close()
    upload.close()


@pytest.mark.proof
def test_run_shows_the_metrics_of_its_worker_among_the_server_s(server: Process) -> None:
    found = fetch(f"{server.until('Serving on ')}/metrics").decode()
    assert 'mails_total{outcome="sent"} 0.0' in found
    assert "http_requests_in_flight" in found


def test_run_prints_its_addresses_and_nothing_more(server: Process, database_url: str) -> None:
    address = server.until("Serving on ")
    assert server.until("API docs") == f"{address}/docs"
    assert server.until("By name").startswith(address.replace("127.0.0.1", "localhost"))
    assert server.until("Data").startswith("the database at /")
    server.until("Ctrl-C stops it.")
    assert fetch(f"{address}/health/live")
    code, _, output, errors = server.end()
    assert (code, output) == (0, "Stopped.\n")
    assert "hypercorn" not in errors  # neither an access log nor its own announcement


@pytest.mark.proof
@pytest.mark.alone
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_run_stops_while_waiting_for_another_migration(
    db: "asyncpg.Connection[Any]", database_url: str, tmp_path: Path, number: int
) -> None:
    options = {"database_url": database_url, "data_dir": tmp_path, "port": 0}
    await db.execute("SELECT pg_advisory_lock(7042001)")
    with started("run", cwd=tmp_path, **options) as process:
        await until(lambda: db.fetchval(RUNNERS_WAITING), 40)
        limit = max(LIMIT, process.age)
        code, seconds, output, errors = process.end(number)
    # On a slow machine it has waited long enough to name the other runner.
    unexpected = [line for line in errors.splitlines() if "wait for another runner" not in line]
    assert (code, output, unexpected) == (0, "Stopped.\n", [])
    assert seconds < limit
