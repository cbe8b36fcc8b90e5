"""The worker's port, whatever its clients do."""

import asyncio
import errno
import gc
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from service.observability.metrics import Metrics
from service.settings import SettingsError
from service.worker import metrics_port
from tests.support.polling import until
from tests.support.processes import ask, free_port
from tests.support.server import connected, exchange, head, kept_alive, receive


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A port with the metrics of a worker that is well."""
    number = free_port()
    async with metrics_port.metrics_port(f"127.0.0.1:{number}", Metrics(), lambda: True):
        yield number


async def test_metrics_and_liveness_are_served(port: int) -> None:
    metrics = await ask(port, "GET", "/metrics?anything")
    assert metrics.status == 200
    assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"process_resident_memory_bytes" in metrics.body
    live = await ask(port, "GET", "/health/live")
    assert (live.status, live.json) == (200, {"status": "ok"})
    assert live.headers["connection"] == "close"
    assert live.headers["cache-control"] == metrics.headers["cache-control"] == "no-store"


async def test_target_may_be_a_whole_address(port: int) -> None:
    for host in ("worker.example", "worker.example:9100"):
        answer = await exchange(port, head("GET", f"http://{host}/health/live?anything"))
        assert (answer.status, answer.body) == (200, b'{"status":"ok"}')
    assert (await exchange(port, head("GET", "http://worker.example"))).status == 404


async def test_metrics_are_in_openmetrics_format_where_that_is_asked_for(port: int) -> None:
    preferred = head("GET", "/metrics", "Accept: application/openmetrics-text", "Accept: */*;q=0.1")
    answer = await exchange(port, preferred)
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.body.endswith(b"\n# EOF\n")


@pytest.fixture
async def unhandled() -> AsyncIterator[list[object]]:
    """What the loop reports in the test, such as the exception of a task."""
    loop, reported = asyncio.get_running_loop(), list[object]()
    loop.set_exception_handler(lambda _, context: reported.append(context))
    yield reported
    loop.set_exception_handler(None)


async def test_responses_without_a_body_leave_no_exception_behind(
    port: int, unhandled: list[object]
) -> None:
    answer = await exchange(port, head("HEAD", "/health/live"))
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "15", b"")
    assert (await exchange(port, head("CONNECT", "service.example:443"))).status == 404
    async with connected(port) as (_, writer):
        writer.write_eof()
    await exchange(port, head("GET", "/health/live"))
    gc.collect()
    assert unhandled == []


async def test_client_that_keeps_its_connection_open_does_not_keep_the_port_s(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("LINGER", "TIME_LIMIT"):
        monkeypatch.setattr(metrics_port, limit, 60.0)
    async with connected(port) as (reader, writer):
        writer.write(kept_alive("GET", "/health/live"))
        async with asyncio.timeout(20):
            assert (await receive(reader)).status == 200
            assert await reader.read() == b""
            await until(lambda: closed(writer))


async def closed(writer: asyncio.StreamWriter) -> bool:
    """Whether the server has closed both halves: what is sent is answered by a reset."""
    try:
        writer.write(b"x")
        await writer.drain()
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize("path", ["/", "/metrics/", "//metrics", "/health/ready", "*"])
async def test_other_paths_are_not_found(port: int, path: str) -> None:
    answer = await ask(port, "GET", path)
    assert (answer.status, answer.json["error"]) == (404, "Not Found")


async def test_other_methods_are_refused_also_with_a_body(port: int) -> None:
    for body in (None, {"filler": "x" * 1_000_000}):
        answer = await ask(port, "POST", "/metrics", body)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("garbage", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (kept_alive("GET", "/metrics", "Content-Length: none"), 400),
        (kept_alive("GET", "/metrics", "X: " + "x" * 100_000), 431),
    ],
)
async def test_what_is_no_request_is_refused(port: int, garbage: bytes, status: int) -> None:
    assert (await exchange(port, garbage)).status == status
    assert (await ask(port, "GET", "/health/live")).status == 200


async def test_client_that_is_slow_is_cut_off_in_time(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_port, "TIME_LIMIT", 0.2)
    async with connected(port) as (reader, writer):
        writer.write(b"GET /metrics HTTP/1.1\r\nHost:")
        async with asyncio.timeout(10):
            assert await reader.read() == b""


async def test_crowd_of_silent_clients_keeps_nobody_out(port: int) -> None:
    silent = [
        await asyncio.open_connection("127.0.0.1", port)
        for _ in range(metrics_port.MAX_CONNECTIONS + 8)
    ]
    assert (await ask(port, "GET", "/health/live")).status == 200
    # Those that came first made room.
    async with asyncio.timeout(10):
        for reader, _ in silent[:9]:
            assert await reader.read() == b""
    assert not any(reader.at_eof() for reader, _ in silent[9:])
    for _, writer in silent:
        writer.close()


async def test_request_of_a_client_that_is_cut_off_is_given_up(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_port, "TIME_LIMIT", 60.0)
    asked, given_up = asyncio.Event(), asyncio.Event()

    async def hang(*_: object) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    monkeypatch.setattr(metrics_port, "write_metrics", hang)
    async with asyncio.timeout(20), AsyncExitStack() as clients:
        _, writer = await clients.enter_async_context(connected(port))
        writer.write(head("GET", "/metrics"))
        await asked.wait()
        for _ in range(metrics_port.MAX_CONNECTIONS):
            await clients.enter_async_context(connected(port))
        await given_up.wait()


async def test_end_of_the_worker_cuts_clients_off() -> None:
    number = free_port()
    async with metrics_port.metrics_port(f"127.0.0.1:{number}", Metrics(), lambda: True):
        assert (await ask(number, "GET", "/health/live")).status == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", number)
        writer.write(b"GET")
        await ask(number, "GET", "/health/live")
    assert await reader.read() == b""
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", number)


async def test_end_of_the_worker_reports_no_exception_of_open_connections(
    unhandled: list[object],
) -> None:
    number = free_port()
    async with metrics_port.metrics_port(f"127.0.0.1:{number}", Metrics(), lambda: True):
        reader, writer = await asyncio.open_connection("127.0.0.1", number)
        writer.write(b"GET")
        await ask(number, "GET", "/health/live")
    assert await reader.read() == b""
    writer.close()
    assert unhandled == []


async def test_unset_address_opens_no_port() -> None:
    async with metrics_port.metrics_port(None, Metrics(), lambda: True):
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid", "203.0.113.9", "a..b"])
async def test_address_that_cannot_be_listened_on_is_refused_by_name(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"{host}:{taken.getsockname()[1]}"
        reason = rf"^WORKER_METRICS_BIND: (?!None)\w[^\[]+: {bind}$"
        with pytest.raises(SettingsError, match=reason):
            async with metrics_port.metrics_port(bind, Metrics(), lambda: True):
                pass


NOWHERE = OSError("could not bind on any address out of [('203.0.113.9', 9100)]")
UNKNOWN = socket.gaierror(8, "nodename nor servname provided")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(NOWHERE, os.strerror(errno.EADDRNOTAVAIL), id="Python 3.13"),
        pytest.param(UNKNOWN, UNKNOWN.strerror, id="macOS"),
    ],
)
async def test_errors_of_other_systems_are_reasons_too(
    error: OSError, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(asyncio, "start_server", fail)
    bind = "203.0.113.9:9100"
    with pytest.raises(SettingsError, match=f"^WORKER_METRICS_BIND: {reason}: {bind}$"):
        async with metrics_port.metrics_port(bind, Metrics(), lambda: True):
            pass
