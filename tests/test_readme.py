"""README.md tells the truth."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from service.cli import NAMES
from service.settings import PROJECT, Settings
from service.settings.external import FIELD as PROVIDERS
from service.settings.external import PARTS
from tests.support import curl as curl_stand_in
from tests.support.command import started
from tests.support.readme import section


def first_column(title: str) -> list[str]:
    """The names in backquotes in the first column of a section's table."""
    rows = re.findall(r"^\| (`.*?) \|", section(title), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


API_URL = "EXTERNAL_<NAME>_API_URL"
CURLS = [pytest.param("curl", marks=pytest.mark.proof)] if shutil.which("curl") else []


@pytest.fixture(params=[*CURLS, "stand-in"])
def curl(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """An environment with curl: the machine's own, and one for machines that have none."""
    path = os.environ["PATH"]
    if request.param == "stand-in":
        script = tmp_path / "bin" / "curl"
        script.parent.mkdir()
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{curl_stand_in.__file__}" "$@"\n')
        script.chmod(0o755)
        path = f"{script.parent}:{path}"
    return {**os.environ, "PATH": path}


def test_readme_s_first_session_works_as_it_stands(
    database_url: str, tmp_path: Path, curl: dict[str, str]
) -> None:
    (script,) = re.findall(r"```bash\n(.*?)```", section("First requests"), re.DOTALL)
    options = {"database_url": database_url, "data_dir": tmp_path, "port": 0}
    with started("run", cwd=tmp_path, **options) as server:
        address = server.until("Serving on ")
        assert "http://127.0.0.1:8000\n" in script
        done = subprocess.run(
            ["bash", "-euo", "pipefail"],
            input=script.replace("http://127.0.0.1:8000", address),
            capture_output=True,
            text=True,
            timeout=60,
            env=curl,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    registered, me, post, posts = map(json.loads, done.stdout.splitlines())
    assert registered == me
    assert me["email"] == "ada@example.com"
    assert (post["title"], post["author"]) == ("My first post", "ada")
    assert posts["posts"] == [post]


def test_readme_describes_every_setting_and_no_other() -> None:
    settings = {name.upper() for name in Settings.model_fields} - {PROVIDERS.upper()}
    settings |= {f"EXTERNAL_<NAME>_{part.upper()}" for part in PARTS} - {API_URL}
    settings.add(API_URL.replace("<NAME>", "GITHUB"))
    assert set(first_column("Settings")) == settings


def test_readme_describes_every_command_and_no_other() -> None:
    assert set(first_column("Commands")) == {f"service {name}" for name in NAMES}


def test_readme_s_map_shows_every_file_and_folder() -> None:
    shown = set(re.findall(r"[\w.]+", section("The map")))
    for path in (PROJECT / "service").iterdir():
        if path.name not in ("__init__.py", "__pycache__", "py.typed"):
            assert path.name in shown, f"{path.name} is not on README's map"
