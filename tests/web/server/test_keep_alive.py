"""How idle connections end."""

import asyncio
import time
from contextvars import ContextVar

import pytest

from service.app import create_app
from service.settings import Settings
from service.testing.server import serving
from service.web.server.hypercorn.keep_alive import KeepAliveTimer, Terminated
from tests.support.server import connected, kept_alive, receive

GRACE = 20  # seconds
HOUR = 3600
variable: ContextVar[object] = ContextVar("variable")


async def test_idle_connection_closes_after_the_timeout() -> None:
    closed = asyncio.Event()
    await KeepAliveTimer(0.01, Terminated(), closed.set).restart()
    assert not closed.is_set()
    await asyncio.wait_for(closed.wait(), 30)


async def test_busy_connection_stays_open_at_the_timeout() -> None:
    busy, idle = asyncio.Event(), asyncio.Event()
    timer = KeepAliveTimer(0.01, Terminated(), busy.set)
    await timer.restart()
    await timer.stop()
    await KeepAliveTimer(0.02, Terminated(), idle.set).restart()
    await asyncio.wait_for(idle.wait(), 30)
    assert not busy.is_set()


async def test_end_of_the_server_closes_idle_connections_alone() -> None:
    terminated, closed = Terminated(), list[str]()
    idle = KeepAliveTimer(HOUR, terminated, lambda: closed.append("idle"))
    busy = KeepAliveTimer(HOUR, terminated, lambda: closed.append("busy"))
    for timer in (idle, busy):
        await timer.restart()
    await busy.stop()
    await terminated.set()
    assert closed == ["idle"]


async def test_connection_that_is_idle_at_the_end_of_the_server_closes_at_once() -> None:
    terminated, closed = Terminated(), asyncio.Event()
    await terminated.set()
    await KeepAliveTimer(HOUR, terminated, closed.set).restart()
    await asyncio.wait_for(closed.wait(), 30)


async def test_timer_of_an_idle_connection_has_no_variable_of_its_last_request() -> None:
    seen = asyncio.get_running_loop().create_future()
    variable.set("of the request")
    timer = KeepAliveTimer(0, Terminated(), lambda: seen.set_result(variable.get(None)))
    await timer.restart()
    assert await asyncio.wait_for(seen, 30) is None


@pytest.mark.usefixtures("patched")
@pytest.mark.parametrize("used", [True, False], ids=["used", "silent"])
async def test_server_ends_without_waiting_for_idle_connections(
    settings: Settings, used: bool
) -> None:
    server = serving(create_app(settings), graceful_timeout=GRACE)
    port = await server.__aenter__()
    async with connected(port) as (reader, writer):
        if used:
            writer.write(kept_alive("GET", "/health/live"))
            await receive(reader)
        start = time.monotonic()
        await server.__aexit__(None, None, None)
        assert time.monotonic() - start < GRACE / 2
        assert await reader.read() == b""
