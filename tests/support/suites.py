"""Suites of somebody else's, run by pytest in a process and a folder of their own."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path


async def run_suites(folder: Path, suites: list[str], *options: str, **environment: str) -> str:
    """Run test modules, which must all pass; returns pytest's output.

    Neither this run's configuration nor its code is seen: only what is installed.
    """
    for number, suite in enumerate(suites):
        (folder / f"test_suite_{number}.py").write_text(suite)
    outside = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST", "PYTHON"))
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options),
        cwd=folder,
        env=outside | environment,
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()
