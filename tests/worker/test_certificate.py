"""The end of the certificate that people see, among the worker's metrics."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from structlog.testing import capture_logs

from service.observability.metrics import Metrics
from service.testing.application import make_settings
from service.worker import certificate
from service.worker.certificate import PublicCertificate, public_certificate
from tests.support.certificates import make_certificate, server_context
from tests.support.polling import until

EXPIRY = "public_certificate_expiry_timestamp_seconds"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]


@asynccontextmanager
async def server(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on a port of 127.0.0.1."""
    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


def hang_up(_reader: object, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def scraped(metrics: Metrics) -> Any:
    await metrics.render()
    return metrics.registry.get_sample_value(EXPIRY)


def expiry_of(path: Path) -> float:
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()


@pytest.mark.parametrize("days", [30, -1])
async def test_end_of_a_certificate_is_measured_whoever_signed_it(
    tmp_path: Path, days: int
) -> None:
    shown = make_certificate(tmp_path, days=days)
    metrics = Metrics()
    async with server(hang_up, server_context(shown)) as port:
        settings = make_settings(public_url=f"https://127.0.0.1:{port}/app")
        async with public_certificate(settings, metrics):
            await until(lambda: scraped(metrics))
    assert await scraped(metrics) == expiry_of(shown)


async def test_new_certificate_is_seen_at_the_next_look_and_kept_while_none_is(
    tmp_path: Path,
) -> None:
    metrics = Metrics()
    tls = server_context(make_certificate(tmp_path, days=1))
    async with server(hang_up, tls) as port:
        looking = PublicCertificate("127.0.0.1", port, metrics)
        await looking.look()
        before = await scraped(metrics)
        renewed = make_certificate(tmp_path, days=90)
        tls.load_cert_chain(renewed)
        await looking.look()
        assert await scraped(metrics) == expiry_of(renewed) > before
    await looking.look()
    assert await scraped(metrics) == expiry_of(renewed)


async def test_host_that_was_never_seen_is_no_series_and_logged_once() -> None:
    metrics = Metrics()
    async with server(hang_up) as port:  # no TLS
        looking = PublicCertificate("127.0.0.1", port, metrics)
        with capture_logs() as lines:
            await looking.look()
            await looking.look()
    nowhere = PublicCertificate("no-such-host.invalid", 443, metrics)
    await nowhere.look()
    assert await scraped(metrics) is None
    assert [line["event"] for line in lines] == ["public certificate not seen"]


async def test_silent_host_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate, "LOOK_TIMEOUT", 0.1)
    asked = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        asked.set()
        await reader.read()
        writer.close()

    async with server(say_nothing) as port:
        async with asyncio.timeout(10):
            await PublicCertificate("127.0.0.1", port, Metrics()).look()
        assert asked.is_set()


@pytest.mark.parametrize("url", [None, "http://service.example"])
async def test_host_without_tls_is_not_asked(
    url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificate, "PublicCertificate", None)
    async with public_certificate(make_settings(public_url=url), Metrics()):
        await asyncio.sleep(0)
