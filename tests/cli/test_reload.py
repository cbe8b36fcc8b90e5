"""`service run --reload`, on a copy of the code."""

import json
import shutil
from pathlib import Path
from urllib.error import URLError

import pytest

from service.settings import PROJECT
from tests.support.command import fetch, started


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the code and its migrations."""
    copy = tmp_path / "project"
    for folder in ("service", "alembic"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / folder, copy / folder, ignore=ignored)
    shutil.copy(PROJECT / "alembic.ini", copy)
    return copy


@pytest.mark.proof
def test_reload_serves_changed_code_and_survives_mistakes(
    project: Path, database_url: str, tmp_path: Path
) -> None:
    options = {"database_url": database_url, "data_dir": tmp_path, "port": 0}
    health = project / "service" / "web" / "health.py"
    code = health.read_text()
    with started("run", "--reload", cwd=tmp_path, project=project, **options) as process:
        address = process.until("Serving on ")
        process.until("Ready.")
        health.write_text(code.replace('"status": "ok"', '"status": "changed"'))
        assert process.until("Changed: ") == "service/web/health.py. Restarting …"
        process.until("Ready.")
        assert json.loads(fetch(f"{address}/health/live"))["status"] == "changed"
        health.write_text("this is no Python")
        process.until("The server ended with code 1", errors=True)
        health.write_text(code)
        process.until("Ready.")
        assert json.loads(fetch(f"{address}/health/live"))["status"] == "ok"
        exit_code, _, output, _ = process.end()
    assert (exit_code, output) == (0, "Stopped.\n")


@pytest.mark.proof
def test_server_ends_with_its_reloader(project: Path, database_url: str, tmp_path: Path) -> None:
    options = {"database_url": database_url, "data_dir": tmp_path, "port": 0}
    with started("run", "--reload", cwd=tmp_path, project=project, **options) as process:
        address = process.until("Serving on ")
        process.until("Ready.")
        process.kill()  # returns when nobody holds its outputs any more
    with pytest.raises(URLError):
        fetch(address)
