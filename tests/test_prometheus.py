"""deploy/monitoring/ in Debian's Prometheus: its configuration, its rules, and their data."""

import asyncio

import pytest

from tests.support.promql import MONITORING
from tests.support.proxies import program

pytestmark = pytest.mark.proof

PROMETHEUS = MONITORING / "prometheus"


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
