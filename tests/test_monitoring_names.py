"""The dashboard, the rules and the runbook name metrics that the service has, by its own words."""

import asyncio
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.testing.application import make_settings, running
from service.worker.liveness import Heartbeat
from service.worker.observation import observed
from tests.support import promql
from tests.support.certificates import make_certificate, server_context
from tests.support.client import Client
from tests.support.monitored import RETURN_TO, hang_up, make_keys
from tests.support.polling import until
from tests.support.processes import ask, free_port
from tests.support.scrape import Scrape, scrape

# What Prometheus adds: series of its own, and labels of every series.
OWN = {"up": set(), "ALERTS": {"alertname", "alertstate"}}
TARGET = {"job", "instance"}


@dataclass
class Exposed:
    """The names and the values of the labels of each metric, by the job that scrapes it."""

    labels: dict[str, dict[str, dict[str, set[str]]]]
    routes: set[str]

    def of(self, metric: str, jobs: set[str]) -> dict[str, set[str]]:
        """A metric's labels with their values, in every one of these jobs that has it."""
        found: dict[str, set[str]] = defaultdict(set)
        has = [self.labels[job][metric] for job in jobs if metric in self.labels[job]]
        assert has, f"{' and '.join(sorted(jobs))} have no {metric}"
        for labels in has:
            for name, values in labels.items():
                # Prometheus keeps its own label.
                found["exported_job" if name == "job" else name] |= values
        return found


def by_metric(scraped: Scrape) -> dict[str, dict[str, set[str]]]:
    """The labels of each metric, with their values."""
    found: dict[str, dict[str, set[str]]] = {}
    for sample in scraped.samples:
        labels = found.setdefault(sample.name, {})
        for name, value in sample.labels.items():
            labels.setdefault(name, set()).add(value)
    return found


@pytest.fixture
async def exposed(database_url: str, tmp_path: Path) -> Exposed:
    """What an application and a worker with everything that has metrics show."""
    options = {
        "database_url": database_url,
        "database_replica_url": database_url,
        "jwt_keys_dir": make_keys(tmp_path),
        # Nothing listens there, so that the call of it fails.
        "external_providers": {
            "acme": {
                "issuer": f"http://127.0.0.1:{free_port()}",
                "client_id": "the service",
                "client_secret": "its secret",
            }
        },
        "external_return_urls": RETURN_TO,
        "ratelimit_enabled": True,
    }
    async with running(make_settings(data_dir=tmp_path, **options)) as app:
        client = Client(app)
        start = {"return_to": RETURN_TO, "code_challenge": "A" * 43}
        await client.post("/auth/external/acme", start)
        await client.get("/api/posts")
        service = by_metric(await scrape(client))
        routes = {rule.rule for rule in app.url_map.iter_rules()}
    worker = by_metric(await scrape_worker(tmp_path))
    return Exposed({"service": service, "service-worker": worker}, routes)


async def scrape_worker(folder: Path) -> Scrape:
    """What the port of a worker shows that has seen a certificate."""
    port = free_port()
    certificate = server_context(make_certificate(folder))
    async with await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=certificate) as tls:
        settings = make_settings(
            worker_metrics_bind=f"127.0.0.1:{port}",
            public_url=f"https://127.0.0.1:{tls.sockets[0].getsockname()[1]}",
        )

        async def read() -> Scrape | None:
            scraped = Scrape((await ask(port, "GET", "/metrics")).body)
            return scraped if "public_certificate" in scraped.text else None

        async with observed(settings, Heartbeat(None), asyncio.Event(), None):
            await until(read)
            scraped = await read()
    assert scraped
    return scraped


def jobs_of(selector: promql.Selector) -> set[str]:
    """The jobs that a selector chooses."""
    every = {"service", "service-worker"}
    for name, how, value in selector.matchers:
        if name == "job" and how in {"=", "=~"} and not value.startswith("$"):
            return {job for job in every if re.fullmatch(value, job)}
    return every


def labels_of(expression: str, exposed: Exposed) -> set[str]:
    """Every label that may be in what an expression finds; checks the names and values in it."""
    parsed = promql.parse(expression)
    labels = TARGET | parsed.made
    for selector in parsed.selectors:
        own = check_selector(selector, exposed)
        labels |= own
    assert parsed.grouping <= labels, f"none of {expression} has {parsed.grouping - labels}"
    return labels


def check_selector(selector: promql.Selector, exposed: Exposed) -> set[str]:
    metric = selector.metric
    names = {name for name, _, _ in selector.matchers}
    if metric in OWN:
        assert names <= OWN[metric] | TARGET
        return OWN[metric]
    if metric in promql.recorded():
        rules = [rule for rule in promql.rules() if rule.get("record") == metric]
        labels = set().union(*(labels_of(rule["expr"], exposed) for rule in rules))
        assert names <= labels, f"{metric} has no {names - labels}"
        return labels
    values = exposed.of(metric, jobs_of(selector))
    assert names <= values.keys() | TARGET, f"{metric} has no {names - values.keys()}"
    for name, how, value in selector.matchers:
        check_values(metric, name, how, value, values.get(name, set()), exposed)
    return set(values)


def check_values(
    metric: str, name: str, how: str, value: str, known: set[str], exposed: Exposed
) -> None:
    """Check that the values that a matcher names are values of that label."""
    if name in TARGET or value.startswith("$") or name == "status":
        return
    known = exposed.routes if name == "route" else known
    for part in value.split("|"):
        assert any(re.fullmatch(part, each) for each in known), f"no {name} {part!r} in {metric}"


async def test_every_name_in_an_expression_is_one_that_the_service_exposes(
    exposed: Exposed,
) -> None:
    """A metric, a label, or a value of a label that is renamed in the code fails here."""
    for place, expression in promql.expressions():
        try:
            labels_of(expression, exposed)
        except AssertionError as error:
            raise AssertionError(f"{place}: {error}") from error
