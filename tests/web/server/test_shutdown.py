"""The beginning of the shutdown."""

import asyncio
from contextlib import AsyncExitStack, suppress

import pytest

from service.app import create_app
from service.settings import ServerName, Settings
from service.testing.server import serving
from service.web.server.application import Service
from service.web.server.shutdown import Shutdown
from tests.support.client import Client
from tests.support.server import connected, exchange, head


async def test_shutdown_begins_once(app: Service) -> None:
    calls: list[str] = []
    app.shutdown_state.on_begin(lambda: calls.append("called"))
    app.shutdown_state.begin()
    app.shutdown_state.begin()
    assert calls == ["called"]


async def test_shutdown_hook_added_after_the_beginning_is_called_at_once(app: Service) -> None:
    calls: list[str] = []
    app.shutdown_state.begin()
    app.shutdown_state.on_begin(lambda: calls.append("called"))
    assert calls == ["called"]


async def test_connections_close_only_once_the_shutdown_has_begun(client: Client) -> None:
    before = await client.get("/health/live")
    assert "Connection" not in before.headers
    client.app.shutdown_state.begin()
    for path, status in [("/health/live", 200), ("/health/ready", 503), ("/nowhere", 404)]:
        answer = await client.get(path)
        assert (answer.status, answer.headers["Connection"]) == (status, "close")


async def test_http_2_answers_have_no_connection_header(client: Client) -> None:
    client.app.shutdown_state.begin()
    answer = await client.get("/health/live", http_version="2")
    assert "Connection" not in answer.headers


@pytest.fixture
async def shutdown() -> Shutdown:
    """The end of a process that serves, as long as balancers need."""
    return Shutdown(drain=None)


async def test_port_closes_at_once_when_no_balancer_asks_for_readiness(shutdown: Shutdown) -> None:
    shutdown.terminate()
    assert shutdown.port_closing.is_set()


async def test_port_stays_open_for_a_balancer(shutdown: Shutdown) -> None:
    shutdown.note_readiness_check()
    shutdown.terminate()
    assert shutdown.begun
    assert not shutdown.port_closing.is_set()


async def test_second_signal_closes_the_port_at_once(shutdown: Shutdown) -> None:
    shutdown.note_readiness_check()
    shutdown.terminate()
    shutdown.terminate()
    assert shutdown.port_closing.is_set()


async def test_port_closes_although_the_balancer_never_asks_again(
    shutdown: Shutdown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.web.server.shutdown.DRAIN", 0.001)
    shutdown.note_readiness_check()
    shutdown.terminate()
    assert await asyncio.wait_for(shutdown.port_closing.wait(), 30)


async def test_port_closes_soon_after_readiness_was_seen_to_fail(
    shutdown: Shutdown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.web.server.shutdown.DRAIN", 3600)
    monkeypatch.setattr("service.web.server.shutdown.SETTLE", 0)
    shutdown.note_readiness_check()
    shutdown.terminate()
    shutdown.note_readiness_check()
    assert await asyncio.wait_for(shutdown.port_closing.wait(), 30)


async def test_port_stays_open_for_drain_seconds_whatever_checks_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.web.server.shutdown.SETTLE", 0)
    shutdown = Shutdown(drain=3600)
    shutdown.note_readiness_check()
    shutdown.terminate()
    shutdown.note_readiness_check()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(shutdown.port_closing.wait(), 0.02)


async def test_port_stays_open_for_drain_seconds_although_no_balancer_asks() -> None:
    """What ends with the beginning, such as streams, does so at once all the same."""
    ended: list[str] = []
    shutdown = Shutdown(drain=3600)
    shutdown.on_begin(lambda: ended.append("streams"))
    shutdown.terminate()
    assert ended == ["streams"]
    assert not shutdown.port_closing.is_set()


async def test_port_closes_when_drain_seconds_are_over() -> None:
    shutdown = Shutdown(drain=0.01)
    shutdown.terminate()
    assert await asyncio.wait_for(shutdown.port_closing.wait(), 30)


async def test_port_closes_at_once_with_no_drain_seconds() -> None:
    shutdown = Shutdown(drain=0)
    shutdown.note_readiness_check()
    shutdown.terminate()
    assert shutdown.port_closing.is_set()


async def test_second_signal_closes_the_port_before_drain_seconds_are_over() -> None:
    shutdown = Shutdown(drain=3600)
    shutdown.terminate()
    shutdown.terminate()
    assert shutdown.port_closing.is_set()


async def test_requests_keep_all_of_graceful_timeout_after_drain_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("service.web.server.shutdown.monotonic", lambda: now)
    shutdown = Shutdown(drain=60)
    shutdown.terminate()
    now += 60
    shutdown.terminate()
    assert shutdown.seconds_left(20) > 19


async def test_graceful_timeout_counts_from_the_signal_without_drain_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("service.web.server.shutdown.monotonic", lambda: now)
    shutdown = Shutdown(drain=None)
    shutdown.note_readiness_check()
    shutdown.terminate()
    now += 5
    shutdown.terminate()
    assert shutdown.seconds_left(20) < 15


async def test_shutdown_begins_with_the_end_of_the_lifespan(settings: Settings) -> None:
    """So it does under a server that does not drive it."""
    app = create_app(settings)
    async with app.test_app():
        assert not app.shutdown_state.begun
    assert app.shutdown_state.begun


async def test_client_is_cut_off_after_graceful_timeout(
    settings: Settings, server: ServerName
) -> None:
    """A body that never comes does not keep the server from its end, however soon that comes."""
    length, kind = "Content-Length: 9", "Content-Type: application/json"
    async with AsyncExitStack() as stack, asyncio.timeout(20):
        async with serving(create_app(settings), server=server) as port:
            reader, writer = await stack.enter_async_context(connected(port))
            writer.write(head("POST", "/auth/login", length, kind))
            await exchange(port, head("GET", "/health/live"))
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
