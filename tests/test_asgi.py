"""The application under Hypercorn's own command, which is served but not supported in every way."""

import asyncio
import sys
from pathlib import Path

import pytest

from service.settings import PROJECT
from tests.support.polling import until

SECRET = "a secret that is only good for tests, and long enough"


@pytest.mark.proof
@pytest.mark.parametrize(("workers", "warnings"), [("0", 0), ("3", 1)])
async def test_several_workers_of_one_hypercorn_are_warned_of_in_one_line(
    workers: str, warnings: int, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hypercorn", "--config", str(PROJECT / "hypercorn.toml")),
            *("--workers", workers, "--bind", "127.0.0.1:0", "service.asgi:app"),
            env={
                "SERVICE_ENV": "testing",
                "DATABASE_URL": "postgresql:///nowhere",
                "SECRET_KEY": SECRET,
                "PYTHONPATH": str(PROJECT),
            },
            cwd=tmp_path,
            stderr=errors,
        )

    async def all_run() -> bool:
        return log.read_text().count("Running on") == max(1, int(workers))

    try:
        await until(all_run, 60)
    finally:
        process.terminate()
        await process.wait()
    assert log.read_text().count("several workers") == warnings
