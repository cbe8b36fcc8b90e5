"""Requests leave nothing behind that only the garbage collector finds."""

import gc
from collections.abc import Iterator

import pytest

from service.app import create_app
from service.settings import Settings
from service.web.exchange import Exchange
from tests.server import exchange, head, serving

REQUESTS = 20
BODY = b'{"email": "nobody@example.com", "password": "a wrong password"}'
LOGIN = ("Content-Type: application/json", f"Content-Length: {len(BODY)}")


@pytest.fixture
def collector_off() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def exchanges() -> int:
    return sum(isinstance(thing, Exchange) for thing in gc.get_objects())


@pytest.mark.usefixtures("collector_off")
@pytest.mark.parametrize(
    "request_",
    [
        head("GET", "/api/posts"),
        head("GET", "/api/posts", "Content-Length: 0"),
        head("GET", "/nowhere"),
        head(
            "POST", "/auth/login", "Content-Type: application/json", f"Content-Length: {len(BODY)}"
        )
        + BODY,
    ],
    ids=["answered", "watched", "not found", "refused"],
)
async def test_a_request_is_gone_when_it_is_over(settings: Settings, request_: bytes) -> None:
    async with serving(create_app(settings)) as port:
        await exchange(port, request_)
        before = exchanges()
        for _ in range(REQUESTS):
            await exchange(port, request_)
        assert exchanges() - before < REQUESTS / 2
