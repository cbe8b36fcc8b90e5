"""Log lines, as a process writes them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache

import pytest

FAILING = """
import asyncio
from service.observability.logging import configure_logging
from service.app import create_app
from service.settings import load_settings

settings = load_settings()
configure_logging(settings)
app = create_app(settings)

@app.get("/fail")
async def fail():
    password = "hunter" + str(2)
    raise RuntimeError("on purpose")

@app.after_request
async def fail_late(response):
    if response.status_code == 404:
        raise RuntimeError("late")
    return response

async def main():
    async with app.test_app():
        for path in ("/fail", "/nowhere"):
            headers = {"X-Request-ID": "the-id"}
            await app.test_client().get(path, headers=headers)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """What a process with two failures logs in a format."""

    @cache
    def run(log_format: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", FAILING],
            env={
                "SERVICE_ENV": "testing",
                "SECRET_KEY": "x" * 32,
                "DATABASE_URL": "postgresql://localhost/nowhere",
                "LOG_FORMAT": log_format,
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            cwd=tmp_path_factory.mktemp("log"),
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stderr

    return run


def test_failures_are_logged_as_json_with_their_request_id(logged: Callable[[str], str]) -> None:
    entries = [json.loads(line) for line in logged("json").splitlines()]
    failures = [entry for entry in entries if entry["level"] == "error"]
    assert {entry["request_id"] for entry in failures} == {"the-id"}
    assert "RuntimeError: on purpose" in failures[0]["exception"]
    assert "RuntimeError: late" in failures[1]["exception"]


@pytest.mark.parametrize("part", ["the-id", "RuntimeError: on purpose", "RuntimeError: late"])
def test_failures_are_readable_in_the_console_log(logged: Callable[[str], str], part: str) -> None:
    assert part in logged("console")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_local_variables_are_not_logged(logged: Callable[[str], str], log_format: str) -> None:
    assert "hunter2" not in logged(log_format)
