"""What Prometheus reads."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextvars import ContextVar
from pathlib import Path
from time import monotonic, perf_counter

import asyncpg
import pytest
from argon2 import PasswordHasher
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.app import create_app
from service.auth.passwords import Passwords
from service.errors import Unavailable
from service.observability.histogram import Labels
from service.observability.metrics import QUERY_INTERVAL, Metrics
from service.settings import Settings
from service.testing.application import make_settings, running
from service.testing.server import serving
from service.web.server.application import Service
from tests.support.client import Client
from tests.support.polling import until
from tests.support.processes import Connection, ask
from tests.support.scrape import Scrape, scrape
from tests.support.server import exchange, head

NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"


async def test_requests_are_counted_by_route_and_status(client: Client) -> None:
    await client.get("/api/posts")
    await client.get("/api/posts?page=2")
    await client.get("/api/posts/01989f2e-8f4b-7c57-9d3c-2b6f0a4c8e11")
    await client.post("/auth/login", {})
    found = await scrape(client)
    for name in ("http_requests_total", "http_request_duration_seconds_count"):
        assert found.value(name, method="GET", route="/api/posts", status="200") == 2
        assert found.value(name, route="/api/posts/<id:post_id>", status="404") == 1
        assert found.value(name, method="POST", route="/auth/login", status="400") == 1
    assert 0 < found.value("http_request_duration_seconds_sum", route="/api/posts") < 30


async def test_no_series_says_when_a_metric_was_made(client: Client) -> None:
    await client.get("/api/posts")
    assert "_created" not in (await scrape(client)).text


@pytest.fixture
async def port(settings: Settings) -> AsyncIterator[int]:
    """The port of an application that is served for real."""
    async with serving(create_app(settings)) as port:
        yield port


async def scrape_port(port: int) -> Scrape:
    return Scrape((await ask(port, "GET", "/metrics")).body)


async def test_client_input_makes_no_new_series(port: int) -> None:
    for number in range(50):
        await exchange(port, head("GET", f"/nothing/{number}?secret={number}"))
        await exchange(port, head(f"BREW{number}", f"/api/posts/{number}"))
        await exchange(port, head("GET", f"/api/posts?page={number}&q=%0a{number}"))
        await exchange(port, head("GET", f"/docs/assets/{number}"))
    found = await scrape_port(port)
    routes = found.labels("route")
    assert routes == {"unmatched", "/api/posts", "/docs/assets/<name>"}
    assert found.labels("method", of="http_") == {"GET", "other"}
    assert found.labels("status") == {"200", "400", "404"}
    assert found.value("http_requests_total", method="other", route="unmatched") == 50


async def test_requests_in_flight_are_counted(port: int) -> None:
    async def in_flight(count: int) -> bool:
        return (await scrape_port(port)).value("http_requests_in_flight") == count

    async with Connection(port) as connection:
        await connection.send_part("POST", "/auth/login", 9)
        await until(lambda: in_flight(2))  # it and the scrape
    await until(lambda: in_flight(1))
    assert (await scrape_port(port)).value("http_requests_total", status="499") == 1


async def test_use_of_the_pool_is_measured(app: Service, client: Client) -> None:
    sessions = [app.database.session() for _ in range(5)]
    for held in sessions[:4]:
        await held.connection()
    # The fifth connection is for reads.
    waiting = asyncio.create_task(sessions[4].connection())
    await asyncio.sleep(0)
    full = await scrape(client)
    await sessions[0].close()
    await waiting
    for held in sessions:
        await held.close()
    empty = await scrape(client)
    names = [f"database_pool_{part}" for part in ("size", "in_use", "waiting")]
    assert [full.value(name) for name in names] == [5, 4, 1]
    assert [empty.value(name) for name in names] == [5, 0, 0]


class PatientHasher(PasswordHasher):
    """Hashes when it is allowed to."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.allowed = threading.Event()
        self.allowed.set()

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.allowed.wait(30)
        return super().hash(password, salt=salt)


async def test_pending_password_hashes_are_measured(app: Service, client: Client) -> None:
    hasher = PatientHasher()
    passwords = Passwords(1, hasher)
    app.add_component(passwords)
    hasher.allowed.clear()
    hashing = [asyncio.create_task(passwords.hash("a password")) for _ in range(3)]
    await asyncio.sleep(0)
    busy = await scrape(client)
    hasher.allowed.set()
    await asyncio.gather(*hashing)
    assert busy.value("password_hashes_pending") == 3
    assert (await scrape(client)).value("password_hashes_pending") == 0


async def test_limited_requests_are_counted(database_url: str, tmp_path: Path) -> None:
    values = {"ratelimit_enabled": True, "ratelimit_login": "1/minute", "data_dir": tmp_path}
    async with running(make_settings(database_url=database_url, **values)) as app:
        client = Client(app)
        for _ in range(3):
            await client.post("/auth/login", {})
        found = await scrape(client)
    assert found.value("ratelimit_refused_total", limit="LOGIN") == 2
    assert found.value("ratelimit_refused_total", limit="READ") == 0
    assert found.value("ratelimit_failures_total") == 0


async def test_jobs_are_counted_by_state(client: Client, db: "asyncpg.Connection") -> None:
    await client.register("ada@example.com")
    found = await scrape(client)
    assert found.value("jobs", state="queued") == 1
    assert found.labels("state") == {"queued", "picked", "failed"}
    # The mail that the registration causes.
    headers = json.loads(await db.fetchval("SELECT headers FROM pgqueuer"))
    assert headers["request_id"]


_LIVE_POSTS = "SELECT title, count(*) FROM posts WHERE deleted_at IS NULL GROUP BY title"


async def count_posts(connection: AsyncConnection) -> dict[Labels, float]:
    rows = await connection.execute(text(_LIVE_POSTS))
    return {(row[0],): row[1] for row in rows}


async def test_metric_queries_run_every_few_seconds(
    app: Service, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = monotonic()
    monkeypatch.setattr("service.observability.metrics.monotonic", lambda: now)
    app.metrics.add_query_gauge(
        "posts", "Posts.", ("title",), lambda: app.database.probe(count_posts)
    )
    ada = await client.sign_up()
    path = (await ada.post("/api/posts", {"title": "one", "content": "."})).headers["Location"]
    assert (await scrape(client)).value("posts", title="one") == 1
    await ada.delete(path)
    assert (await scrape(client)).value("posts", title="one") == 1
    now += 5
    assert (await scrape(client)).value("posts", title="one") == 0


async def test_queries_run_at_the_same_time_so_that_a_silent_database_is_waited_for_once() -> None:
    measured, together = Metrics(), asyncio.Barrier(2)

    async def query() -> dict[Labels, float]:
        async with asyncio.timeout(10), together:
            return {(): 1}

    measured.add_query_gauge("one", "One.", (), query)
    measured.add_query_gauge("two", "Two.", (), query)
    await measured.render()
    assert measured.registry.get_sample_value("two") == 1


async def test_silent_database_holds_up_one_scrape_for_a_second_and_the_others_hardly(
    client: Client, db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, seconds = monotonic(), list[float]()
    monkeypatch.setattr("service.observability.metrics.monotonic", lambda: now)
    await client.register("ada@example.com")
    assert (await scrape(client)).value("jobs", state="queued") == 1
    async with db.transaction():
        await db.execute("LOCK TABLE pgqueuer IN ACCESS EXCLUSIVE MODE")
        for _ in range(4):
            now += QUERY_INTERVAL
            start = perf_counter()
            found = await scrape(client)
            seconds.append(perf_counter() - start)
        await db.execute("DELETE FROM pgqueuer")
    assert found.value("jobs", state="queued") == 1
    assert found.value("database_schema_info") == 1
    assert found.value("metrics_query_failures_total") == 4
    assert seconds[0] < 1.6
    assert max(seconds[1:]) < 0.6

    async def is_empty() -> bool:
        return (await scrape(client)).value("jobs", state="queued") == 0

    await until(is_empty)


async def test_late_result_is_shown_by_the_next_scrape_which_runs_no_second_query(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.observability.metrics.PATIENCE", 0.01)
    measured, answered, asked = Metrics(), asyncio.Event(), 0

    async def query() -> dict[Labels, float]:
        nonlocal asked
        asked += 1
        await answered.wait()
        return {(): asked}

    measured.add_query_gauge("late", "Late.", (), query)
    await measured.render()
    assert measured.registry.get_sample_value("late") == 0
    answered.set()
    await measured.render()
    assert measured.registry.get_sample_value("late") == 1
    assert measured.registry.get_sample_value("metrics_query_failures_total") == 1


async def test_scrapes_wait_as_before_for_a_database_that_was_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, seconds = 1_000.0, [0.02, 0.0, 0.02]
    for name, value in (("monotonic", lambda: now), ("PATIENCE", 0.01), ("SHORT_PATIENCE", 0.001)):
        monkeypatch.setattr(f"service.observability.metrics.{name}", value)

    async def query() -> dict[Labels, float]:
        await asyncio.sleep(seconds.pop(0))
        return {(): len(seconds)}

    measured = Metrics()
    measured.add_query_gauge("left", "Left.", (), query)
    await measured.render()
    while measured.registry.get_sample_value("left") == 0:
        await measured.render()
    now += QUERY_INTERVAL
    await measured.render()
    assert measured.registry.get_sample_value("left") == 1
    now += QUERY_INTERVAL
    # Longer than the short wait.
    monkeypatch.setattr("service.observability.metrics.PATIENCE", 10.0)
    await measured.render()
    assert measured.registry.get_sample_value("left") == 0


async def test_query_keeps_nothing_of_the_request_that_scrapes() -> None:
    variable, measured = ContextVar[str]("variable"), Metrics()
    variable.set("of the request")
    seen: list[str | None] = []

    async def query() -> dict[Labels, float]:
        seen.append(variable.get(None))
        return {}

    measured.add_query_gauge("kept", "Kept.", (), query)
    await measured.render()
    assert seen == [None]


async def test_end_of_the_application_ends_queries_that_go_on(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.observability.metrics.PATIENCE", 0.01)
    ended = False

    async def query() -> dict[Labels, float]:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            ended = True
        return {}

    async with running(make_settings(database_url=database_url, data_dir=tmp_path)) as app:
        app.metrics.add_query_gauge("endless", "Endless.", (), query)
        await scrape(Client(app))
        assert not ended
    assert ended


async def test_query_that_failed_is_repeated_before_its_interval_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, asked = 1_000.0, 0
    monkeypatch.setattr("service.observability.metrics.monotonic", lambda: now)

    async def query() -> dict[Labels, float]:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise Unavailable("The database does not answer")
        return {(): asked}

    measured = Metrics()
    measured.add_query_gauge("seldom", "Seldom asked.", (), query, interval=60)
    for wait, value in ((0, 0), (4, 0), (1, 2), (59, 2), (1, 3)):
        now += wait
        await measured.render()
        assert measured.registry.get_sample_value("seldom") == value
    assert measured.registry.get_sample_value("metrics_query_failures_total") == 1


async def test_metrics_are_served_without_a_database(tmp_path: Path) -> None:
    async with running(make_settings(database_url=NOWHERE, data_dir=tmp_path)) as app:
        found = await scrape(Client(app))
    assert found.value("metrics_query_failures_total") == 1


async def test_counter_grows_by_the_growth_of_its_total() -> None:
    measured, total = Metrics(), 3
    measured.add_counter("failures", "Failures.", (), lambda: {(): total})
    await measured.render()
    total = 5
    await measured.render()
    assert measured.registry.get_sample_value("failures_total") == 5


async def test_process_and_version_are_in_the_metrics(client: Client) -> None:
    found = await scrape(client)
    assert found.value("process_resident_memory_bytes") > 1_000_000
    assert found.value("process_start_time_seconds") > 0
    assert found.value("service_build_info", version="1.0.0") == 1


async def test_each_application_has_its_own_metrics(client: Client, tmp_path: Path) -> None:
    await client.get("/api/posts")
    async with running(make_settings(database_url=NOWHERE, data_dir=tmp_path)) as app:
        assert (await scrape(Client(app))).value("http_requests_total", route="/api/posts") == 0
