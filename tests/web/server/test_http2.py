"""HTTP/2: responses before the end of their requests, and what follows on their connection."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from h2.errors import ErrorCodes
from hypercorn.config import Config

from service.settings import Settings
from service.testing.application import make_app, make_settings
from service.testing.database import Databases
from service.testing.server import serving
from service.web.server import bounds
from tests.support.broken import add_broken
from tests.support.http2 import Http2Client
from tests.support.server import exchange, kept_alive


@pytest.fixture(scope="module")
async def port(
    service_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[int]:
    """The port of an application that takes HTTP/2 without TLS."""
    with service_databases.database() as database:
        settings = make_settings(
            database_url=database.url,
            data_dir=tmp_path_factory.mktemp("http2"),
            http2_prior_knowledge=True,
        )
        async with serving(make_app(settings)) as number:
            yield number


@pytest.mark.parametrize("size", [100, 3_000_000])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/auth/password", 401),
        ("POST", "/nowhere", 404),
        ("PUT", "/health/live", 405),
        ("POST", "/auth/login", 415),
        ("GET", "/health/live", 200),
    ],
)
async def test_next_stream_is_answered_after_an_early_response(
    port: int, method: str, path: str, status: int, size: int
) -> None:
    async with Http2Client.connected(port) as client:
        early = client.send(method, path, ("content-length", str(size)), end=False)
        assert (await client.answer(early)).status == status
        await client.upload(early, size)
        assert (await client.answer(client.send("GET", "/health/live"))).status == 200
        assert not client.resets


async def test_upload_beyond_what_is_discarded_is_stopped_without_an_error(port: int) -> None:
    async with Http2Client.connected(port) as client:
        early = client.send("PUT", "/auth/password", end=False)
        assert (await client.answer(early)).status == 401
        await client.upload(early, 64 * 2**20)
        assert client.resets == {early: ErrorCodes.NO_ERROR}
        assert (await client.answer(client.send("GET", "/health/live"))).status == 200


async def test_stream_of_a_client_that_stops_sending_ends_alone(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "DISCARD_TIME", 0.05)
    async with Http2Client.connected(port) as client, asyncio.timeout(5):
        early = client.send("PUT", "/auth/password", end=False)
        while early not in client.resets:
            await client.read()
        assert client.answers[early].status == 401
        assert (await client.answer(client.send("GET", "/health/live"))).status == 200


EXPECT = ("expect", "100-continue")
JSON = ("content-type", "application/json")


async def test_expectation_of_a_refused_request_is_answered_by_the_refusal(port: int) -> None:
    async with Http2Client.connected(port) as client:
        early = client.send("PUT", "/auth/password", EXPECT, end=False)
        assert (await client.answer(early)).status == 401
        assert not client.informational


async def test_body_of_an_expectation_is_asked_for_once_it_is_read(port: int) -> None:
    async with Http2Client.connected(port) as client:
        stream = client.send("POST", "/auth/login", EXPECT, JSON, end=False)
        while not client.informational:
            await client.read()
        await client.upload(stream, 10)
        assert (await client.answer(stream)).status == 400
        assert client.informational == [stream]


@pytest.mark.parametrize(("method", "path"), [("GET", "/\u00e9"), ("G\u00c9T", "/")])
async def test_request_outside_of_ascii_ends_its_stream_alone(
    port: int, method: str, path: str
) -> None:
    async with Http2Client.connected(port) as client:
        odd = client.send(method, path)
        while odd not in client.resets and odd not in client.ended:
            await client.read()
        assert (await client.answer(client.send("GET", "/health/live"))).status == 200


@pytest.mark.parametrize("host", ["a b", "user@x", "x:y", "x/y"])
async def test_invalid_authority_is_400(port: int, host: str) -> None:
    async with Http2Client.connected(port) as client:
        assert (await client.answer(client.send("GET", "/health/live", host=host))).status == 400


async def test_method_in_lower_case_is_405(port: int) -> None:
    async with Http2Client.connected(port) as client:
        assert (await client.answer(client.send("get", "/health/live"))).status == 405


async def test_connect_is_refused_alone(port: int) -> None:
    async with Http2Client.connected(port) as client:
        stream = client.h2.get_next_available_stream_id()
        client.h2.send_headers(stream, [(":method", "CONNECT"), (":authority", "x:443")])
        client.flush()
        assert (await client.answer(stream)).status in {404, 405}
        assert (await client.answer(client.send("GET", "/health/live"))).status == 200


@pytest.fixture
async def brief_port(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """The port of a server that ends idle connections soon, and each one after two requests."""
    monkeypatch.setattr(Config, "keep_alive_timeout", 0.2)
    monkeypatch.setattr(Config, "keep_alive_max_requests", 2)
    changed = settings.model_copy(update={"http2_prior_knowledge": True})
    async with serving(make_app(changed), graceful_timeout=20) as number:
        yield number


@pytest.mark.parametrize(
    ("path", "end"), [("/auth/login", False), ("/\u00e9", True), ("/\u00e9", False)]
)
async def test_connection_whose_last_stream_was_reset_ends_after_keep_alive_timeout(
    brief_port: int, path: str, end: bool
) -> None:
    async with Http2Client.connected(brief_port) as client, asyncio.timeout(10):
        stream = client.send("POST", path, JSON, end=end)
        if path.isascii():
            client.h2.reset_stream(stream)
            client.flush()
        await client.read_to_end()
        assert stream in client.resets or path.isascii()


async def test_stream_of_a_connection_stays_open_beside_one_that_was_reset(brief_port: int) -> None:
    async with Http2Client.connected(brief_port) as client, asyncio.timeout(10):
        stream = client.send("POST", "/auth/login", JSON, end=False)
        client.h2.reset_stream(client.send("POST", "/auth/login", JSON, end=False))
        client.flush()
        await asyncio.sleep(0.5)  # longer than an idle connection stays open
        client.h2.send_data(stream, b"{}", end_stream=True)
        client.flush()
        assert (await client.answer(stream)).status == 400


async def test_refused_requests_count_among_those_of_a_connection(brief_port: int) -> None:
    async with Http2Client.connected(brief_port) as client, asyncio.timeout(10):
        streams = [client.send("GET", "/\u00e9") for _ in range(3)]
        while not client.terminated:
            await client.read()
        assert streams[-1] in client.resets


async def test_stream_whose_response_breaks_off_is_reset(settings: Settings) -> None:
    app = make_app(settings.model_copy(update={"http2_prior_knowledge": True}))
    add_broken(app)
    async with serving(app) as port, Http2Client.connected(port) as client, asyncio.timeout(10):
        stream = client.send("GET", "/broken")
        while stream not in client.resets:
            await client.read()
        assert stream not in client.ended
        assert (await client.answer(client.send("GET", "/health/live"))).status == 200


async def test_http_1_1_is_served_beside_http_2(port: int) -> None:
    answer = await exchange(port, kept_alive("GET", "/health/live", "Connection: close"))
    assert answer.status == 200
