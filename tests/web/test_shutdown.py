"""The beginning of the shutdown."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import pytest

from service.app import create_app
from service.settings import Settings
from service.web.server.application import Service
from service.web.server.shutdown import Shutdown, begin_shutdown, shutdown
from tests.client import Client
from tests.server import connected, exchange, head, serving


async def test_it_begins_once(app: Service) -> None:
    calls: list[str] = []
    shutdown(app).at_begin(lambda: calls.append("called"))
    begin_shutdown(app)
    begin_shutdown(app)
    assert calls == ["called"]


async def test_who_comes_late_hears_of_it_at_once(app: Service) -> None:
    calls: list[str] = []
    begin_shutdown(app)
    shutdown(app).at_begin(lambda: calls.append("called"))
    assert calls == ["called"]


async def test_connections_close_only_once_it_has_begun(client: Client) -> None:
    before = await client.get("/health/live")
    assert "Connection" not in before.headers
    begin_shutdown(client.app)
    for path, status in [("/health/live", 200), ("/health/ready", 503), ("/nowhere", 404)]:
        answer = await client.get(path)
        assert (answer.status, answer.headers["Connection"]) == (status, "close")


async def test_http_2_is_told_in_another_way(client: Client) -> None:
    begin_shutdown(client.app)
    answer = await client.get("/health/live", http_version="2")
    assert "Connection" not in answer.headers


class Server:
    """What a server does that the shutdown follows: it waits for its end, in a task."""

    def __init__(self) -> None:
        self.waiting = asyncio.create_task(asyncio.Event().wait())
        self.state = Shutdown()
        self.state.follow(frozenset([self.waiting]))

    async def closes(self) -> bool:
        """Whether it closes its port without further ado."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return self.waiting.done()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server at work."""
    server = Server()
    yield server
    server.waiting.cancel()


async def test_port_closes_at_once_when_nobody_asks_for_readiness(server: Server) -> None:
    server.state.drain()
    assert await server.closes()


async def test_port_stays_open_for_a_balancer(server: Server) -> None:
    server.state.note_watcher()
    server.state.drain()
    server.state.drain()
    assert server.state.begun
    assert not await server.closes()


async def test_port_stays_open_when_a_balancer_may_have_asked_another_worker(
    server: Server,
) -> None:
    server.state.shares_port = True
    server.state.drain()
    assert not await server.closes()


async def test_second_signal_does_not_wait_for_a_balancer(server: Server) -> None:
    server.state.note_watcher()
    server.state.terminate()
    assert not await server.closes()
    server.state.terminate()
    assert await server.closes()


async def test_port_closes_soon_after_readiness_was_seen_to_fail(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.web.server.shutdown.DRAIN", 3600)
    monkeypatch.setattr("service.web.server.shutdown.SETTLE", 0)
    server.state.note_watcher()
    server.state.terminate()
    server.state.note_watcher()
    await asyncio.wait([server.waiting], timeout=30)
    assert server.waiting.done()


async def test_it_begins_with_the_server(server: Server) -> None:
    server.waiting.cancel()
    await asyncio.wait([server.waiting])
    assert await server.closes()
    assert server.state.begun


async def test_client_is_left_after_graceful_timeout(settings: Settings) -> None:
    """A body that never comes does not keep the server from its end, however soon that comes."""
    length, kind = "Content-Length: 9", "Content-Type: application/json"
    async with AsyncExitStack() as stack, asyncio.timeout(20):
        async with serving(create_app(settings)) as port:
            reader, writer = await stack.enter_async_context(connected(port))
            writer.write(head("POST", "/auth/login", length, kind))
            await exchange(port, head("GET", "/health/live"))
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
