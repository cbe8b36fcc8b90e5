"""The service behind the real nginx and Apache, which compress, cache, and speak TLS and HTTP/2."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.settings import Settings
from service.testing.application import make_app, make_settings
from service.testing.client import PASSWORD
from service.testing.server import Server, serving
from tests.support.polling import PATIENCE
from tests.support.processes import free_port
from tests.support.proxies import DEPLOY, SECURE, balanced, make_certificate
from tests.support.server import exchange, head
from tests.support.web_servers import NOTHING_LISTENS, apache, cache, nginx

pytestmark = pytest.mark.proof

# Long enough to be compressed.
POST = {"title": "First", "content": "Words of a post. " * 100}


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return make_settings(database_url=database_url, data_dir=tmp_path, trusted_proxies=1)


@pytest.fixture
async def port(settings: Settings) -> AsyncIterator[int]:
    """The port of the service itself."""
    app = make_app(settings)
    async with serving(app) as number:
        await exchange(number, head("GET", "/health/live"))  # it has started
        yield number
        app.shutdown_state.begin()


async def sign_up(client: httpx.AsyncClient, **headers: str) -> None:
    """Register, log in, and send the token from now on."""
    credentials = {"email": "ada@example.com", "password": PASSWORD}
    assert (await client.post("/auth/register", json=credentials)).status_code == 201
    answer = await client.post("/auth/login", json=credentials, headers=headers)
    client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


async def assert_conditional_requests_work(client: httpx.AsyncClient, form: str) -> None:
    """Write with the tag of what was read, which the proxy has compressed, and read with it."""
    path = (await client.post("/api/posts", json=POST)).headers["Location"]
    read = await client.get(path)
    assert read.headers["Content-Encoding"] == "gzip"
    tag = read.headers["ETag"]
    assert tag.startswith(form.partition("…")[0])
    assert tag.endswith(form.partition("…")[2])
    condition = {"If-Match": tag}
    again = await client.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    changed = await client.put(path, json={"title": "Second"}, headers=condition)
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    assert (await client.patch(path, json=POST, headers=condition)).status_code == 412
    assert (await client.delete(path, headers=condition)).status_code == 412
    condition = {"If-Match": (await client.get(path)).headers["ETag"]}
    refused = await client.patch(path, json=POST, headers={"If-None-Match": condition["If-Match"]})
    assert refused.status_code == 412
    assert (await client.delete(path, headers=condition)).status_code == 204


async def test_conditional_requests_work_behind_nginx_that_compresses(
    port: int, tmp_path: Path
) -> None:
    async with nginx(tmp_path, port) as client:
        await sign_up(client)
        await assert_conditional_requests_work(client, 'W/"…"')


async def test_conditional_requests_work_behind_apache_that_compresses(
    port: int, tmp_path: Path
) -> None:
    async with apache(tmp_path, port) as client:
        await sign_up(client)
        await assert_conditional_requests_work(client, '"…-gzip"')


async def test_shared_cache_shows_a_restored_post_at_once(port: int, tmp_path: Path) -> None:
    async with (
        cache(tmp_path, port) as writer,
        httpx.AsyncClient(base_url=writer.base_url, timeout=PATIENCE) as all_,
    ):
        await sign_up(writer)
        path = (await writer.post("/api/posts", json=POST)).headers["Location"]
        seen = [(await all_.get(path)).status_code]
        assert (await writer.delete(path)).status_code == 204
        seen += [(await all_.get(path)).status_code for _ in range(2)]
        assert (await writer.post(f"{path}/restore")).status_code == 200
        seen.append((await all_.get(path)).status_code)
        assert seen == [200, 404, 404, 200]
        # It is a cache: what may be kept is kept.
        kept = [(await all_.get("/.well-known/jwks.json")).headers["X-Cache"] for _ in range(2)]
        assert kept == ["MISS", "HIT"]


async def test_nginx_offers_http2_and_hides_the_metrics(port: int, tmp_path: Path) -> None:
    async with nginx(tmp_path, port) as client:
        answer = await client.get("/api/posts")
        assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
        for path in ("/metrics", "/metrics/", "/%6detrics", "//metrics", "/x/../metrics?x=1"):
            url = httpx.URL(client.base_url, raw_path=path.encode())
            refused = await client.get(url)
            assert (refused.status_code, refused.json()["code"]) == (403, 403), path
            assert refused.headers["Cache-Control"] == "no-store"


async def test_client_of_nginx_cannot_forge_its_address(port: int, tmp_path: Path) -> None:
    forged = {"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.1"}
    async with nginx(tmp_path, port) as client:
        await sign_up(client, **forged)
        (session,) = (await client.get("/auth/sessions")).json()["sessions"]
        assert session["ip"] == "127.0.0.1"


async def test_nginx_passes_no_upgrade_on(port: int, tmp_path: Path) -> None:
    upgrade = {
        "Connection": "Upgrade, HTTP2-Settings",
        "Upgrade": "h2c",
        "HTTP2-Settings": "AAMAAABkAAQAAP__",
    }
    async with (
        nginx(tmp_path, port) as client,
        httpx.AsyncClient(
            base_url=client.base_url,
            verify=ssl.create_default_context(cafile=tmp_path / "chain.pem"),
            timeout=PATIENCE,
        ) as old,
    ):
        answer = await old.get("/api/posts", headers=upgrade)
        assert (answer.status_code, answer.http_version) == (200, "HTTP/1.1")


async def test_nginx_sends_events_on_at_once(port: int, tmp_path: Path) -> None:
    async with nginx(tmp_path, port) as client:
        await sign_up(client)
        async with asyncio.timeout(PATIENCE), client.stream("GET", "/api/posts/stream") as stream:
            assert stream.headers["Content-Type"] == "text/event-stream"
            lines = stream.aiter_lines()
            assert await anext(lines) == "retry: 2000"
            await client.post("/api/posts", json=POST)
            async for line in lines:
                if line.startswith("event: "):
                    assert line == "event: post.created"
                    break


async def test_nginx_answers_in_the_service_s_shape_when_no_replica_does(tmp_path: Path) -> None:
    async with nginx(tmp_path, NOTHING_LISTENS) as client:
        answer = await client.get("/api/posts")
        body: dict[str, Any] = answer.json()
        assert (answer.status_code, body["code"]) == (503, 503)
        assert body.keys() == {"error", "message", "code", "request_id"}
        assert body["request_id"] == answer.headers["X-Request-ID"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert int(answer.headers["Retry-After"]) > 0


async def test_haproxy_offers_http2_whose_streams_leave_room_for_requests(
    port: int, tmp_path: Path
) -> None:
    secure, certificate = free_port(), make_certificate(tmp_path)
    documented = next(
        line.strip()
        for line in (DEPLOY / "haproxy.cfg").read_text().splitlines()
        if line.strip().startswith(SECURE)
    )
    path = documented.split()[documented.split().index("crt") + 1]
    line = documented.removeprefix("# ").replace(path, str(certificate.both))
    line = line.replace(":8443", f"127.0.0.1:{secure}")
    async with (
        balanced(tmp_path, Server(port), tls=line),
        httpx.AsyncClient(
            http2=True,
            verify=certificate.context(),
            base_url=f"https://localhost:{secure}",
            limits=httpx.Limits(max_connections=1),
            timeout=PATIENCE,
        ) as client,
        AsyncExitStack() as streams,
    ):
        for _ in range(8):
            stream = await streams.enter_async_context(client.stream("GET", "/api/posts/stream"))
            assert (stream.status_code, stream.http_version) == (200, "HTTP/2")
        answer = await client.get("/api/posts")
        assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
