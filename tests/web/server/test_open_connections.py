"""How many connections are open, as the metrics say."""

from collections.abc import AsyncIterator

import pytest

from service.app import create_app
from service.settings import ServerName, Settings
from service.testing.server import serving
from service.web.server.application import Service
from tests.support.polling import until
from tests.support.processes import ask
from tests.support.scrape import Scrape
from tests.support.server import connected, exchange, kept_alive, receive

LIVE = kept_alive("GET", "/health/live")


@pytest.fixture
def served(settings: Settings) -> Service:
    return create_app(settings)


@pytest.fixture
async def port(served: Service, server: ServerName) -> AsyncIterator[int]:
    async with serving(served, server=server) as port:
        yield port


async def test_open_connections_are_counted_idle_and_busy(port: int, served: Service) -> None:
    async def open_ones() -> float:
        return Scrape((await ask(port, "GET", "/metrics")).body).value("connections_open")

    async with connected(port) as (reader, writer), connected(port):
        writer.write(LIVE)
        await receive(reader)

        async def both_and_the_scrape() -> bool:
            return await open_ones() == 3

        await until(both_and_the_scrape)

    async def only_the_scrape() -> bool:
        return await open_ones() == 1

    await until(only_the_scrape)


async def test_connections_that_end_badly_are_no_longer_counted(port: int, served: Service) -> None:
    await exchange(port, b"nonsense\r\n\r\n")
    async with connected(port) as (_, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: ")
        writer.transport.abort()

    async def none() -> bool:
        return served.connections.count == 0

    await until(none)
