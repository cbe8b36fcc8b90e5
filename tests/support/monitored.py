"""Everything that has metrics, as processes under load, and a Prometheus that watches them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.certificates import make_certificate, server_context
from tests.support.command import fetch
from tests.support.eventsource import EventSource
from tests.support.polling import until
from tests.support.postgres import Server
from tests.support.processes import Connection, ServiceProcess, ask, free_port, service_process
from tests.support.promql import MONITORING
from tests.support.proxies import program, running
from tests.support.smtp import smtp_server
from tests.support.storm.machines import Worker
from tests.support.valkey import redis_url, valkey_server

RETURN_TO = "http://127.0.0.1/signed-in"
POST = {"title": "watched", "content": "some words"}
MANY = "100000/minute"
LIMITED = (
    "read",
    "create",
    "write",
    "register",
    "login",
    "login_account",
    "begin",
    "stream",
    "mail",
    "default",
)


@dataclass
class Prometheus:
    """A running Prometheus."""

    port: int

    async def get(self, path: str, **query: str) -> Any:
        """What an endpoint of its API says."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urlencode(query)}"
        return json.loads(await asyncio.to_thread(fetch, url))["data"]

    async def exemplars(self) -> list[Any]:
        """The series of requests' durations that carry ids of traces."""
        now = time.time()
        series: list[Any] = await self.get(
            "query_exemplars",
            query="http_request_duration_seconds_bucket",
            start=str(now - 600),
            end=str(now + 60),
        )
        return [one for one in series if one["exemplars"][0]["labels"]["trace_id"]]

    async def is_ready(self) -> bool:
        """Whether it answers queries."""
        return (await ask(self.port, "GET", "/-/ready")).status == 200

    async def has(self, expression: str) -> bool:
        """Whether an expression finds data: a sample at least that is a number."""
        found = (await self.get("query", query=expression))["result"]
        return any(sample["value"][1] != "NaN" for sample in found)


@asynccontextmanager
async def prometheus(folder: Path, targets: dict[str, list[int]]) -> AsyncIterator[Prometheus]:
    """Debian's Prometheus with the configuration of deploy/, which looks each second at these."""
    config = yaml.safe_load((MONITORING / "prometheus" / "prometheus.yml").read_text())
    port = free_port()
    config["global"] = dict.fromkeys(("scrape_interval", "evaluation_interval"), "1s")
    config["rule_files"] = [str(MONITORING / "prometheus" / name) for name in config["rule_files"]]
    for job in config["scrape_configs"]:
        job.pop("dns_sd_configs", None)
        ports = targets.get(job["job_name"], [port])
        job["static_configs"] = [{"targets": [f"127.0.0.1:{each}" for each in ports]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    async with running(
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        port=port,
    ):
        server = Prometheus(port)
        await until(server.is_ready)
        yield server


def make_keys(folder: Path) -> Path:
    """A folder with a signing key."""
    (folder / "keys").mkdir()
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    (folder / "keys" / "2026-01.pem").write_bytes(pem)
    return folder / "keys"


@asynccontextmanager
async def deployed(
    pair: tuple[Server, Server], folder: Path
) -> AsyncIterator[tuple[list[ServiceProcess], int]]:
    """Two processes of the service and the port of a worker; with all that has metrics."""
    primary, standby = pair
    port = free_port()
    certificate = server_context(make_certificate(folder, days=90))
    async with AsyncExitStack() as stack:
        tls = await stack.enter_async_context(
            await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=certificate)
        )
        settings: dict[str, object] = {
            "database_replica_url": standby.url(),
            "database_statement_timeout": 1,
            "redis_url": redis_url(stack.enter_context(valkey_server())),
            "smtp_url": (await stack.enter_async_context(smtp_server())).url,
            "public_url": f"https://127.0.0.1:{tls.sockets[0].getsockname()[1]}",
            "jwt_keys_dir": make_keys(folder),
            "worker_metrics_bind": f"127.0.0.1:{port}",
            # Nothing listens where a provider and a collector should be.
            "external_acme_issuer": f"http://127.0.0.1:{free_port()}",
            "external_acme_client_id": "the service",
            "external_acme_client_secret": "its secret",
            "external_return_urls": RETURN_TO,
            "otel_exporter_otlp_endpoint": f"http://127.0.0.1:{free_port()}",
            "ratelimit_enabled": "true",
            **{f"ratelimit_{name}": MANY for name in LIMITED},
        }
        services = [
            await stack.enter_async_context(service_process(primary.url(), folder, **settings))
            for _ in range(2)
        ]
        worker = Worker(primary.url(), folder, {}, settings)
        stack.push_async_callback(worker.kill)
        await worker.start()
        yield services, port


async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


@asynccontextmanager
async def busy(services: list[ServiceProcess], primary: Server) -> AsyncIterator[None]:
    """Clients that do something of everything at each service while the block runs."""
    async with AsyncExitStack() as stack:
        connection = await asyncpg.connect(primary.url())
        stack.push_async_callback(connection.close)
        tasks = []
        for number, service in enumerate(services):
            client = await stack.enter_async_context(Connection(service.port))
            await client.sign_up(f"ada{number}")
            assert (await client.request("POST", "/api/posts", POST)).status == 201
            async with connection.transaction():
                await connection.execute("LOCK TABLE posts IN SHARE MODE")
                assert (await client.request("POST", "/api/posts", POST)).status == 503
            await stack.enter_async_context(EventSource(service.port).connected())
            tasks.append(asyncio.create_task(use(client)))
        # The sizes of tables come from what VACUUM saw.
        await connection.execute("VACUUM (ANALYZE)")
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def requests() -> Iterator[tuple[str, str, Any]]:
    """One request after the other, for ever."""
    wrong = {"email": "nobody@example.com", "password": "not the password"}
    while True:
        yield "GET", "/api/posts", None
        yield "POST", "/api/posts", POST
        yield "POST", "/auth/login", wrong
        yield "POST", "/auth/email/verify/resend", None
        yield "POST", "/auth/external/acme", {"return_to": RETURN_TO, "code_challenge": "A" * 43}


async def use(client: Connection) -> None:
    """Make requests, as a member and as nobody."""
    token = client.token
    for number, (method, path, body) in enumerate(requests()):
        client.token = token if number % 8 < 4 else ""
        await client.request(method, path, body)
        await asyncio.sleep(0.05)


async def without_data(prometheus: Prometheus, expressions: list[str], seconds: float) -> list[str]:
    """The expressions that find no data within this time."""
    loop = asyncio.get_running_loop()
    end, left = loop.time() + seconds, expressions
    while left := [each for each in left if not await prometheus.has(each)]:
        if loop.time() > end:
            break
        await asyncio.sleep(1)  # until the next scrape
    return left
