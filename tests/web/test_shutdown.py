"""The beginning of the shutdown."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from service.app import Service, create_app
from service.settings import Settings
from service.web.shutdown import begin_shutdown, shutdown


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """The signals that reach whoever handled them before the application did."""
    seen: list[int] = []
    earlier = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    yield seen
    signal.signal(signal.SIGTERM, earlier)


async def test_a_signal_begins_it_and_reaches_the_server_too(
    handled: list[int], app: Service
) -> None:
    begun = asyncio.Event()
    shutdown(app).at_begin(begun.set)
    signal.raise_signal(signal.SIGTERM)
    async with asyncio.timeout(5):
        await begun.wait()
    assert shutdown(app).begun
    assert handled == [signal.SIGTERM]


async def test_it_begins_once(app: Service) -> None:
    calls: list[str] = []
    shutdown(app).at_begin(lambda: calls.append("called"))
    begin_shutdown(app)
    begin_shutdown(app)
    assert calls == ["called"]


async def test_afterwards_signals_are_handled_as_before(settings: Settings) -> None:
    before = signal.getsignal(signal.SIGTERM)
    app = create_app(settings)
    async with app.test_app():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
