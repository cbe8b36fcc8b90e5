"""The suites that docs/testing.md shows, as somebody else runs them."""

import asyncio
import re
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from service.settings import PROJECT
from tests.support.suites import run_suites

PAGE = (PROJECT / "docs" / "testing.md").read_text()
SUITES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PASSED = "6 passed"


def configured(**values: str) -> list[str]:
    """Options that set values of pytest's configuration."""
    return [word for name, value in values.items() for word in ("-o", f"{name}={value}")]


def test_documentation_shows_a_suite_of_ten_lines() -> None:
    assert len(SUITES[0].splitlines()) <= 10


@pytest.mark.proof
async def test_documented_suites_pass_in_strict_mode(tmp_path: Path) -> None:
    assert PASSED in await run_suites(tmp_path, SUITES)


@pytest.mark.proof
async def test_documented_suites_pass_in_auto_mode_with_session_loops_under_xdist(
    tmp_path: Path,
) -> None:
    options = configured(asyncio_mode="auto", asyncio_default_test_loop_scope="session")
    assert PASSED in await run_suites(tmp_path, SUITES, "--numprocesses=2", *options)


@pytest.mark.proof
@pytest.mark.parametrize("fixtures", ["function", "session"])
@pytest.mark.parametrize("tests", ["function", "class", "module", "package", "session"])
async def test_documented_suites_pass_with_every_loop_scope(
    tmp_path: Path, fixtures: str, tests: str
) -> None:
    options = configured(
        asyncio_mode="auto",
        asyncio_default_fixture_loop_scope=fixtures,
        asyncio_default_test_loop_scope=tests,
        filterwarnings="error",
    )
    assert PASSED in await run_suites(tmp_path, SUITES, *options)


@pytest.mark.proof
async def test_documented_suites_pass_with_the_service_of_a_wheel(tmp_path: Path) -> None:
    """The migrations lie beside the package in a checkout, and inside it in a wheel."""
    building = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)),
        cwd=PROJECT,
    )
    assert await building.wait() == 0
    [wheel] = tmp_path.glob("*.whl")
    installed, folder = tmp_path / "installed", tmp_path / "suites"
    folder.mkdir()
    ZipFile(wheel).extractall(installed)
    assert PASSED in await run_suites(folder, SUITES, PYTHONPATH=str(installed))
