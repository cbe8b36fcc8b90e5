"""The metrics that docs/operations.md names are the ones that are exposed; how many series."""

import random
import re
import string
from pathlib import Path
from time import process_time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from service.app import create_app
from service.settings import PROJECT, Settings
from service.testing.application import make_settings, running
from service.testing.server import serving
from service.web.server.application import Service
from tests.support.client import Client
from tests.support.processes import ask
from tests.support.scrape import Scrape, scrape
from tests.support.server import exchange, head

OPERATIONS = PROJECT / "docs" / "operations.md"
NAME = re.compile(r"`(\w+)")
# Seconds for all of them, with a series for each method, route and several statuses.
SCRAPE = 0.05
CLOSE = b"Connection: close\r\n\r\n"
STATUSES = (200, 400, 429)


def documented(title: str) -> dict[str, set[str]]:
    """The labels of each metric that the table in a section names."""
    found: dict[str, set[str]] = {}
    labels: set[str] = set()
    section = OPERATIONS.read_text().partition(f"\n### {title}\n")[2].partition("\n### ")[0]
    for line in section.splitlines():
        if not line.startswith("| `"):
            continue
        _, names, named, *_ = map(str.strip, line.split("|"))
        labels = labels if named == "the same" else set(NAME.findall(named))
        first, *others = NAME.findall(names)
        for name in (first, *others):
            # `_rows` beside `database_table_bytes` is `database_table_rows`.
            stem = first.rpartition("_")[0] if name.startswith("_") else ""
            found[stem + name] = labels
    return found


def exposed(found: Scrape) -> dict[str, set[str]]:
    """The labels of each metric that is exposed; those of the process are one."""
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", found.text, re.MULTILINE))
    labels: dict[str, set[str]] = {name: set() for name in types}
    for sample in found.samples:
        stem = re.sub("_(bucket|count|sum)$", "", sample.name)
        name = stem if types.get(stem) == "histogram" else sample.name
        labels[name] |= sample.labels.keys() - {"le"}
    return {re.sub("^process_.*", "process_", name): each for name, each in labels.items()}


def write_key(folder: Path) -> Path:
    """A folder with one signing key."""
    folder.mkdir()
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "a.pem").write_bytes(pem)
    return folder


async def test_documentation_names_every_metric_of_a_server_with_its_labels_and_no_other(
    database_url: str, tmp_path: Path
) -> None:
    settings = make_settings(
        database_url=database_url,
        database_replica_url="postgresql://nobody@127.0.0.1:1/nowhere",
        data_dir=tmp_path,
        jwt_keys_dir=write_key(tmp_path / "keys"),
        ratelimit_enabled=True,
    )
    async with running(settings) as app:
        await Client(app).get("/api/posts")
        found = exposed(await scrape(Client(app)))
    # No external provider was called.
    for name in ("external_calls_total", "external_call_seconds_total"):
        assert found[name] == set()
        found[name] = {"provider", "outcome"}
    assert documented("Metrics") == found


def random_text() -> str:
    """Letters and digits that no other request has."""
    return "".join(random.choices(string.ascii_letters + string.digits, k=12))


async def send_all(port: int) -> None:
    """Send one request of each kind whose texts are the client's choice."""
    text = random_text()
    headers = (
        f"User-Agent: {text}", f"Accept: application/{text}", f"X-Request-ID: {text}",
        f"X-Forwarded-For: {text}", f"Authorization: Bearer {text}", f"Cookie: {text}={text}",
        f"Traceparent: 00-{random.getrandbits(128):032x}-{random.getrandbits(64):016x}-01",
        f"Idempotency-Key: {text}", f"If-None-Match: {text}", f"X-{text}: {text}",
    )  # fmt: skip
    for line in headers:
        await exchange(port, head("GET", "/api/posts", line))
    await exchange(port, head("GET", f"/{text}/{text}?{text}={text}"))
    await exchange(port, head(text.upper(), f"/{text}"))
    await exchange(port, head(text, "/api/posts"))
    await exchange(port, f"GET /api/posts HTTP/1.1\r\nHost: {text}:80\r\n".encode() + CLOSE)
    await exchange(port, f"GET /api/posts HTTP/1.1\r\nHost: <{text}>\r\n".encode() + CLOSE)
    await exchange(port, f"GET http://{text}/{text} HTTP/1.1\r\nHost: {text}\r\n".encode() + CLOSE)
    await exchange(port, head("GET", f"/api/posts/{text}"))


async def test_number_of_series_does_not_depend_on_what_clients_send(settings: Settings) -> None:
    async def series() -> set[tuple[str, ...]]:
        found = Scrape((await ask(port, "GET", "/metrics")).body)
        return {(each.name, *map(str, sorted(each.labels.items()))) for each in found.samples}

    async with serving(create_app(settings)) as port:
        await series()  # is itself a request
        await send_all(port)
        before = await series()
        for _ in range(5):
            await send_all(port)
        assert await series() == before


def fill(app: Service) -> int:
    """Count requests by each method and route, with several statuses; returns how many series."""
    keys = {
        (method, rule.rule, status)
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        for status in STATUSES
    }
    for key in keys:
        app.request_metrics.finish(*key, 0.01, "0af7651916cd43dd8448eb211c80319c")
    return len(keys)


@pytest.mark.proof
@pytest.mark.alone
@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text"])
async def test_scrape_of_every_route_s_series_takes_less_than_50_ms(
    app: Service, client: Client, accept: str
) -> None:
    assert fill(app) > 500
    seconds = []
    for _ in range(5):
        start = process_time()
        answer = await client.get("/metrics", headers={"Accept": accept})
        seconds.append(process_time() - start)
    assert answer.body.count(b"\n") > 8_000
    assert min(seconds) < SCRAPE, seconds
