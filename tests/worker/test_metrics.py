"""What Prometheus reads of a worker."""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.observability import propagation, tracing
from service.observability.metrics import Metrics
from service.observability.otel import Tracing
from service.settings import PROJECT, Settings
from service.testing.application import FAST, make_settings, working
from service.worker import cleanup, liveness
from service.worker.handlers import HANDLERS, MAILS, cleanups
from service.worker.liveness import Heartbeat
from service.worker.metrics import JOB_OUTCOMES, MAIL_OUTCOMES, WorkerMetrics
from service.worker.worker import WorkerTiming, run_worker
from tests.support.certificates import make_certificate, server_context
from tests.support.client import Client
from tests.support.command import PRODUCTION, started
from tests.support.polling import until
from tests.support.processes import ask, free_port
from tests.support.scrape import Scrape
from tests.support.smtp import SmtpServer

JOBS = "job_duration_seconds_count"
LAST_POLL = "worker_last_poll_timestamp_seconds"
NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"


class MeasuredWorker:
    """A worker that serves its metrics on this port."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def scrape(self) -> Scrape:
        answer = await ask(self.port, "GET", "/metrics")
        assert answer.status == 200
        return Scrape(answer.body)

    async def until(self, name: str, **labels: str) -> Scrape:
        """Wait until a metric is there and is not 0, and scrape what came before that."""

        async def counted() -> float:
            found = await self.scrape()
            return name in found.text and found.value(name, **labels)

        await until(counted)
        return await self.scrape()


@asynccontextmanager
async def measured(
    settings: Settings, timing: WorkerTiming = FAST, **others: object
) -> AsyncIterator[MeasuredWorker]:
    port = free_port()
    bound = settings.model_copy(update={"worker_metrics_bind": f"127.0.0.1:{port}", **others})
    async with working(bound, timing):
        found = MeasuredWorker(port)
        await until(lambda: answers(port))
        yield found


async def answers(port: int) -> bool:
    try:
        return (await ask(port, "GET", "/health/live")).status == 200
    except OSError:
        return False


async def test_every_series_of_a_worker_is_there_from_the_first_scrape(settings: Settings) -> None:
    async with measured(settings) as worker:
        found = await worker.scrape()
    durations = [s for s in found.samples if s.name == JOBS]
    assert {(s.labels["job"], s.labels["outcome"]) for s in durations} == {
        (name, outcome) for name in HANDLERS for outcome in JOB_OUTCOMES
    }
    assert {s.value for s in durations} == {0}
    assert found.labels("outcome", of="mails_total") == set(MAIL_OUTCOMES)
    assert found.labels("of", of="cleanup_deleted_total") == set(cleanups(settings))
    assert found.value("mails_total") == found.value("cleanup_deleted_total") == 0


async def test_sent_mail_is_counted_with_its_job(
    client: Client, settings: Settings, smtp: SmtpServer
) -> None:
    async with measured(settings) as worker:
        await client.register()
        await smtp.wait_for(1)
        found = await worker.until(JOBS, job="mail link", outcome="done")
    assert found.value("mails_total", outcome="sent") == 1
    assert found.value("mails_total") == found.value(JOBS) == 1
    assert found.value("job_duration_seconds_sum", job="mail link") > 0


async def test_refused_mail_is_counted_with_its_failed_job(
    client: Client, settings: Settings, smtp: SmtpServer
) -> None:
    smtp.refusals["ann@example.com"] = "550 no such user here"
    async with measured(settings) as worker:
        await client.register(email="ann@example.com")
        found = await worker.until(JOBS, outcome="failed")
    assert found.value("mails_total", outcome="refused") == found.value("mails_total") == 1


async def test_mail_that_waits_for_its_server_is_counted_at_each_try(
    client: Client, settings: Settings, smtp: SmtpServer
) -> None:
    await smtp.down()
    async with measured(settings, replace(FAST, attempts=2)) as worker:
        await client.register()
        found = await worker.until(JOBS, outcome="failed")
    assert found.value(JOBS, job="mail link", outcome="retried") == 1
    assert found.value("mails_total", outcome="failed") == found.value("mails_total") == 2


async def test_job_whose_turn_has_not_come_is_counted_as_put_back(
    client: Client, settings: Settings, smtp: SmtpServer
) -> None:
    smtp.may_answer.clear()
    async with measured(settings) as worker:
        me = await client.sign_up()
        await smtp.has_data.wait()
        assert (await me.post("/auth/email/verify/resend")).status == 202
        found = await worker.until(JOBS, outcome="put_back")
        assert found.value(JOBS, outcome="retried") == 0
        smtp.may_answer.set()
        await smtp.wait_for(2)


async def test_worker_within_a_server_is_measured_there_and_opens_no_port(
    client: Client, settings: Settings, smtp: SmtpServer
) -> None:
    """Here it is cancelled with a mail in hand, as `service run` ends it."""
    smtp.may_answer.clear()
    shown, port = Metrics(), free_port()
    bound = settings.model_copy(update={"worker_metrics_bind": f"127.0.0.1:{port}"})
    task = asyncio.create_task(run_worker(bound, asyncio.Event(), FAST, shown))
    await client.register()
    await smtp.has_data.wait()
    assert not await answers(port)
    task.cancel()
    await asyncio.wait([task])
    found = Scrape(await shown.render())
    assert found.value(JOBS, job="mail link", outcome="put_back") == found.value(JOBS) == 1
    assert found.value("mails_total") == 0


async def test_trace_of_a_job_is_an_exemplar_of_its_duration(settings: Settings) -> None:
    tracing.use(Tracing(InMemorySpanExporter()))
    metrics = Metrics()
    measured = WorkerMetrics(metrics, settings, Heartbeat(None))
    with (
        propagation.job_context(
            "notice", 1, {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
        ) as trace,
        measured.job("notice", trace),
    ):
        pass
    tracing.stop()
    shown = (await metrics.render(openmetrics=True)).decode()
    [line] = [line for line in shown.splitlines() if "trace_id" in line]
    assert line.startswith('job_duration_seconds_bucket{job="notice",le="0.01",outcome="done"} 1')
    assert f'trace_id="{"ab" * 16}"' in line


async def test_clean_ups_are_counted_by_what_they_delete(
    settings: Settings, client: Client, db: asyncpg.Connection
) -> None:
    await client.register()
    await db.execute("UPDATE mail_links SET created_at = now() - interval '9 days'")
    await db.execute(
        "INSERT INTO pgqueuer_schedules (expression, entrypoint, next_run) "
        "VALUES ($1, 'cleanup', now() - interval '1 minute')",
        cleanup.CLEANUP_TIMES,
    )
    async with measured(settings) as worker:
        found = await worker.until("cleanup_deleted_total", of="mail links")
    assert found.value("cleanup_deleted_total", of="mail links") == 1
    assert found.value("cleanup_deleted_total", of="posts") == 0


async def test_last_poll_is_when_the_database_last_answered(settings: Settings) -> None:
    before = time.time()
    async with measured(settings) as worker:
        first = (await worker.scrape()).value(LAST_POLL)

        async def polled_again() -> bool:
            return (await worker.scrape()).value(LAST_POLL) > first

        await until(polled_again)
    assert before <= first <= time.time()


async def test_worker_without_a_database_serves_metrics_and_has_not_polled(
    settings: Settings, tmp_path: Path
) -> None:
    beats = tmp_path / "heartbeat"
    nowhere = make_settings(
        database_url=NOWHERE, smtp_url=settings.mail_url, worker_heartbeat_file=beats
    )
    async with measured(nowhere) as worker:
        first = (await worker.scrape()).value(LAST_POLL)
        os.utime(beats, (0, 0))
        await until(lambda: asyncio.to_thread(lambda: beats.stat().st_mtime))
        assert (await worker.scrape()).value(LAST_POLL) == first


async def test_worker_that_looks_for_no_jobs_any_more_is_not_alive(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with measured(settings) as worker:
        monkeypatch.setattr(liveness, "SILENT_AFTER", 0.0)
        answer = await ask(worker.port, "GET", "/health/live")
        assert (answer.status, answer.json["error"]) == (503, "Service Unavailable")
        assert (await worker.scrape()).value(LAST_POLL)


def test_each_job_that_sends_a_mail_is_known_as_one() -> None:
    assert {"mail link", "notice"} <= MAILS.keys() < HANDLERS.keys()


def documented() -> set[str]:
    """The metrics of the worker that docs/operations.md names."""
    text = (PROJECT / "docs" / "operations.md").read_text()
    section = text.partition("\n### The worker's metrics\n")[2].partition("\n### ")[0]
    rows = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)", row)}


async def test_worker_exposes_the_metrics_that_the_documentation_names_and_no_others(
    settings: Settings, tmp_path: Path
) -> None:
    """`service worker` itself, as production starts it, beside a host that shows a certificate."""
    tls = server_context(make_certificate(tmp_path))
    host = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=tls)
    port = free_port()
    values = {
        **PRODUCTION,
        "public_url": f"https://127.0.0.1:{host.sockets[0].getsockname()[1]}",
        "database_url": settings.database_dsn,
        "worker_metrics_bind": f"127.0.0.1:{port}",
    }
    with started("worker", cwd=tmp_path, **values):
        await until(lambda: answers(port))
        found = await MeasuredWorker(port).until("public_certificate_expiry_timestamp_seconds")
    host.close()
    exposed = set(re.findall(r"^# TYPE (\w+) ", found.text, re.MULTILINE))
    shared = {name for name in exposed if name.startswith("process_")}
    assert shared
    assert exposed - shared | {"process_"} == documented()
