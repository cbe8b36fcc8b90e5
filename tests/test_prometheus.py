"""deploy/monitoring/ in Debian's Prometheus: its configuration, its rules, and their data."""

import asyncio
import re
from pathlib import Path

import pytest

from tests.support import promql
from tests.support.monitored import busy, deployed, prometheus, without_data
from tests.support.postgres import Server
from tests.support.promql import MONITORING
from tests.support.proxies import program

pytestmark = pytest.mark.proof

PROMETHEUS = MONITORING / "prometheus"
# Alerts that nothing but a fault can raise, however slow the machine is.
OF_FAULTS = {
    "ServiceDown",
    "ServiceWorkerDown",
    "ServiceTargetDown",
    "ServiceReleasesMixed",
    "ServiceSchemaMismatch",
    "ServiceFileDescriptors",
    "ServiceJobsFailed",
    "ServiceLimitStoreFailing",
    "ServiceTableGrowth",
    "ServiceCertificateExpires",
    "ServiceSigningKeyOld",
}


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "--lint=all", "--lint-fatal", "rules.yml"),
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "rules_test.yml"),
    ],
    ids=" ".join,
)
async def test_promtool_finds_no_fault(arguments: tuple[str, ...]) -> None:
    process = await asyncio.create_subprocess_exec(
        program("promtool"),
        *arguments,
        cwd=PROMETHEUS,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


async def test_every_expression_of_dashboard_rules_and_runbook_finds_data(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    """Of two real processes under load, a worker, a primary and its standby."""
    places = {substitute(expression): place for place, expression in promql.expressions()}
    async with deployed(pair, tmp_path) as (services, worker), busy(services, pair[0]):
        targets = {"service": [service.port for service in services], "service-worker": [worker]}
        async with prometheus(tmp_path, targets) as server:
            missing = await without_data(server, list(places), 30)
            assert not missing, "\n".join(f"{places[each]}: {each}" for each in missing)
            assert await server.exemplars()
            rules = [
                rule for group in (await server.get("rules"))["groups"] for rule in group["rules"]
            ]
            assert {rule["health"] for rule in rules} == {"ok"}
            active = {
                alert["labels"]["alertname"] for alert in (await server.get("alerts"))["alerts"]
            }
            assert not active & OF_FAULTS


def substitute(expression: str) -> str:
    """An expression of the dashboard with all of its variables at their defaults."""
    return re.sub(r"\$(job|instance|route)\b", ".+", expression).replace("$__rate_interval", "30s")
