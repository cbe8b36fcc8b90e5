"""The service through PUBLIC_URL and proxies, as `service doctor` finds it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.doctor import proxies, public_url
from service.doctor.findings import Findings
from service.doctor.http import new_client
from service.settings import Settings
from service.testing.application import make_app, make_settings
from service.testing.server import serving
from tests.support.certificates import make_certificate, server_context
from tests.support.command import started
from tests.support.doctor import Found, look
from tests.support.small_proxy import SmallProxy, small_proxy
from tests.support.valkey import redis_url, valkey_server


@pytest.fixture
async def upstream(settings: Settings) -> AsyncIterator[int]:
    """The port of the service."""
    async with serving(make_app(settings)) as port:
        yield port


async def examined(proxy: SmallProxy, scheme: str = "http") -> Found:
    settings = make_settings(public_url=f"{scheme}://127.0.0.1:{proxy.port}")
    return await look(public_url.check, settings)


async def test_a_service_behind_a_good_proxy_is_well(
    upstream: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path, days=40)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    options = {"hidden": ["/metrics"], "added": {"Strict-Transport-Security": "max-age=31536000"}}
    async with small_proxy(upstream, server_context(certificate), **options) as proxy:
        found = await examined(proxy, "https")
    assert found.is_well, found.listed
    for words in ("is good for 39 days", "is ready", f"version {version('service')}", "/metrics",
                  "come by https alone"):  # fmt: skip
        assert words in found["ok"]
    assert "port of its own" in found["skipped"]


async def test_an_untrusted_certificate_is_a_problem_and_the_rest_is_looked_at(
    upstream: int, tmp_path: Path
) -> None:
    context = server_context(make_certificate(tmp_path))
    async with small_proxy(upstream, context, hidden=["/metrics"]) as proxy:
        found = await examined(proxy, "https")
    assert "is not trusted" in found["problem"]
    assert found["problem"].count("\n") == 0
    assert "is ready" in found["ok"]
    assert "there is no Strict-Transport-Security" in found["ok"]


async def test_metrics_that_everybody_reads_are_a_warning(upstream: int) -> None:
    async with small_proxy(upstream) as proxy:
        found = await examined(proxy)
    assert found["warning"].startswith("everybody can read /metrics")
    assert found["warning"].count("\n") == 0


async def test_a_proxy_that_drops_request_ids_is_a_warning(upstream: int) -> None:
    async with small_proxy(upstream, dropped=["x-request-id"], hidden=["/metrics"]) as proxy:
        found = await examined(proxy)
    assert "X-Request-ID does not come back" in found["warning"]


async def test_another_version_is_a_warning(upstream: int) -> None:
    reply = b'HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{"info": {"version": "0.9.9"}}'
    options: dict[str, Any] = {"replies": {"/openapi.json": reply}, "hidden": ["/metrics"]}
    async with small_proxy(upstream, **options) as proxy:
        found = await examined(proxy)
    assert "it is version 0.9.9" in found["warning"]


async def test_a_service_that_is_not_ready_is_a_problem_with_its_reason(
    upstream: int, db: asyncpg.Connection
) -> None:
    await db.execute("UPDATE alembic_version SET version_num = '0008'")
    async with small_proxy(upstream) as proxy:
        found = await examined(proxy)
    assert "not ready: Not ready: the database's schema is not at head" in found["problem"]


async def test_another_server_is_a_problem() -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    async with small_proxy(1, replies={"/health/ready": reply}) as proxy:
        found = await examined(proxy)
    assert "is not this service (status 200" in found["problem"]


async def test_nothing_at_public_url_is_a_problem() -> None:
    settings = make_settings(public_url="https://127.0.0.1:1")
    assert "does not answer" in (await look(public_url.check, settings))["problem"]
    assert (await look(proxies.check, settings))["skipped"]
    assert (await look(public_url.check, make_settings()))["skipped"]


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (b"HTTP/1.1 301 X\r\nLocation: https://localhost/\r\nContent-Length: 0\r\n\r\n", "ok"),
        (b"HTTP/1.1 301 X\r\nLocation: http://other/\r\nContent-Length: 0\r\n\r\n", "warning"),
        (b"HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n", "warning"),
        (b"HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n", "ok"),
        (b"", "ok"),
    ],
)
async def test_plain_http_should_lead_to_https(reply: bytes, status: str) -> None:
    found = Findings("http")
    async with small_proxy(1, replies={"/health/live": reply}) as proxy, new_client() as client:
        url = "https://127.0.0.1"
        await public_url.check_redirect(client, url, found, port=proxy.port)
    assert [each.status.value for each in found.listed] == [status]


@asynccontextmanager
async def limited(settings: Settings, trusted: int, limit: str) -> AsyncIterator[int]:
    changed = {"trusted_proxies": trusted, "ratelimit_enabled": True, "ratelimit_read": limit}
    async with serving(make_app(settings.model_copy(update=changed))) as port:
        yield port


async def proxied(proxy: SmallProxy, **settings: object) -> Found:
    address = f"http://127.0.0.1:{proxy.port}"
    return await look(proxies.check, make_settings(public_url=address, **settings))


FORGED = "believes a forged X-Forwarded-For"
AS_ONE = "are counted as one"


@pytest.mark.parametrize(
    ("trusted", "appends", "problem"),
    [
        (1, True, ""),
        (2, True, FORGED),
        (0, True, AS_ONE),
        pytest.param(1, False, FORGED, marks=pytest.mark.proof),
        pytest.param(0, False, AS_ONE, marks=pytest.mark.proof),
    ],
)
async def test_trusted_proxies_are_counted_by_what_a_forged_address_changes(
    settings: Settings, trusted: int, appends: bool, problem: str
) -> None:
    async with (
        limited(settings, trusted, "100/minute") as port,
        small_proxy(port, appends=appends) as proxy,
    ):
        address = f"http://127.0.0.1:{proxy.port}"
        found = await look(
            proxies.check, make_settings(public_url=address, trusted_proxies=trusted)
        )
    if problem:
        assert problem in found["problem"]
        assert f"TRUSTED_PROXIES is {trusted} here" in found["problem"]
    else:
        assert found.is_well, found.listed
        assert "does not change the address" in found["ok"]
        assert "counted apart" in found["ok"]


async def test_without_a_limit_addresses_are_not_judged(upstream: int, settings: Settings) -> None:
    async with small_proxy(upstream) as proxy:
        found = await proxied(proxy)
    assert "no limit is shown" in found["skipped"]
    async with limited(settings, 1, "3/minute") as port, small_proxy(port) as proxy:
        found = await proxied(proxy)
    assert found.is_well
    assert "the limit is used up" in found["skipped"]


@pytest.mark.proof
async def test_two_processes_behind_one_proxy_are_looked_at_as_one_service(
    database_url: str, tmp_path: Path
) -> None:
    """By the command, with real processes; without a shared server each counts by itself."""
    config = tmp_path / "hypercorn.toml"
    config.write_text("")
    with valkey_server() as valkey:
        options = {
            "database_url": database_url,
            "redis_url": redis_url(valkey),
            "trusted_proxies": 1,
            "data_dir": tmp_path,
        }
        with started(
            "serve", "--config", str(config), "--bind", "127.0.0.1:0", cwd=tmp_path, **options
        ) as process:
            port = int(process.until("Running on http://127.0.0.1:", errors=True).split()[0])
            async with small_proxy(port, hidden=["/metrics"]) as proxy:
                public = {"public_url": f"http://127.0.0.1:{proxy.port}", **options}
                with started("doctor", cwd=tmp_path, **public) as doctor:
                    code, output = await asyncio.to_thread(doctor.finish, 30)
    assert code == 0, output
    assert "PUBLIC_URL leads to a service that is ready" in output
    assert "two addresses of this machine are counted apart" in output
