"""A served application, and an author who writes."""

from collections.abc import AsyncIterator

import pytest

from service.app import create_app
from service.settings import Settings
from service.web.server.application import Service
from tests.support.client import Client
from tests.support.eventsource import streaming


@pytest.fixture
def app(settings: Settings) -> Service:
    """The application, started by the server."""
    return create_app(settings)


@pytest.fixture
async def port(app: Service) -> AsyncIterator[int]:
    async with streaming(app) as port:
        yield port


@pytest.fixture
async def author(app: Service, port: int) -> Client:
    return await Client(app).sign_up()
