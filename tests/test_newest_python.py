"""The newest Python, on a system that has nothing but what README asks for."""

import re
import tomllib
from collections.abc import Iterator

import pytest

from service.settings import PROJECT
from tests.support import forky
from tests.support.command import fetch
from tests.support.processes import free_port

MAKEFILE = (PROJECT / "Makefile").read_text()


def test_every_python_that_is_checked_has_a_classifier() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    found = re.search(r"^PYTHONS \?= (.*)$", MAKEFILE, re.MULTILINE)
    assert found
    checked = found[1].split()
    assert checked == ["3.11", "3.12", "3.13", "3.14"]
    assert project["requires-python"] == f">={checked[0]}"
    prefix = "Programming Language :: Python :: "
    named = [one.removeprefix(prefix) for one in project["classifiers"] if prefix in one]
    assert named == checked


@pytest.fixture(scope="module")
def system() -> Iterator[None]:
    """A bare forky with a copy of the project."""
    if reason := forky.missing():
        pytest.skip(reason)
    with forky.prepared():
        yield


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("system")
class TestForky:
    def test_make_run_serves_on_a_bare_forky(self) -> None:
        port = free_port()
        process = forky.start(f"make run PORT={port}")
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if "Serving on" in line:
                    break
            assert "Serving on" in lines[-1], lines
            assert b"ok" in fetch(f"http://127.0.0.1:{port}/health/ready")
        finally:
            process.kill()
            process.communicate()

    def test_quick_half_of_the_suite_passes_on_a_bare_forky(self) -> None:
        assert " passed" in forky.run("make quick")
        assert forky.run("python3 --version").startswith("Python 3.14")
