"""The suites that docs/testing.md shows, as somebody else runs them."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

from service.settings import PROJECT

SUITES = re.findall(
    r"^```python\n(.*?)^```$",
    (PROJECT / "docs" / "testing.md").read_text(),
    re.MULTILINE | re.DOTALL,
)
SCOPES = ("function", "class", "module", "package", "session")


async def run_pytest(folder: Path, *options: str) -> tuple[int, str]:
    """Run the suites in a folder of their own; exit code and output."""
    for number, suite in enumerate(SUITES):
        (folder / f"test_suite_{number}.py").write_text(suite)
    # Neither this run's settings nor its code: only what is installed.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST", "PYTHON"))
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options),
        cwd=folder,
        env=environment,
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def settings(**values: str) -> list[str]:
    """Options that set values of pytest's configuration."""
    return [word for name, value in values.items() for word in ("-o", f"{name}={value}")]


async def assert_passes(folder: Path, *options: str) -> None:
    code, output = await run_pytest(folder, *options)
    assert code == 0, output
    assert "6 passed" in output, output


def test_documentation_shows_a_suite_of_ten_lines() -> None:
    assert len(SUITES[0].splitlines()) <= 10


async def test_documented_suites_pass_in_strict_mode(tmp_path: Path) -> None:
    await assert_passes(tmp_path)


async def test_documented_suites_pass_in_auto_mode_with_session_loops_under_xdist(
    tmp_path: Path,
) -> None:
    scopes = settings(asyncio_mode="auto", asyncio_default_test_loop_scope="session")
    await assert_passes(tmp_path, "--numprocesses=2", *scopes)


@pytest.mark.proof
@pytest.mark.parametrize("mode", ["strict", "auto"])
@pytest.mark.parametrize("fixture_scope", ["function", "session"])
@pytest.mark.parametrize("test_scope", SCOPES)
async def test_documented_suites_pass_with_every_loop_scope(
    tmp_path: Path, mode: str, fixture_scope: str, test_scope: str
) -> None:
    scopes = settings(
        asyncio_mode=mode,
        asyncio_default_fixture_loop_scope=fixture_scope,
        asyncio_default_test_loop_scope=test_scope,
        filterwarnings="error",
    )
    await assert_passes(tmp_path, *scopes)
