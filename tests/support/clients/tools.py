"""Programs that know the service from its document alone, in an environment of their own.

What they need, plugins of pytest among it, would change how the suite itself runs.
"""

import asyncio
import os
import shutil
from contextlib import suppress
from pathlib import Path

from service.settings import PROJECT

PROGRAMS = PROJECT / ".venv-clients" / "bin"


async def run(program: str, *arguments: str, cwd: Path, **environment: str) -> str:
    """Run one of them to its end, which must be a good one; what it wrote."""
    assert (PROGRAMS / program).exists(), "`make proof` installs what this needs"
    return await _finish(str(PROGRAMS / program), *arguments, cwd=cwd, **environment)


async def run_npm_package(package: str, *arguments: str, cwd: Path) -> str:
    """Run the program of a package of npm's, named with its version; what it wrote."""
    assert shutil.which("npx"), "npx is needed (Debian: apt-get install npm)"
    # Neither reports to its maker nor asks for a newer version.
    quiet = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
    return await _finish("npx", "--yes", package, *arguments, cwd=cwd, **quiet)


async def install_npm_package(package: str, folder: Path) -> None:
    """Install a package of npm's, named with its version, into a folder; none of its scripts runs.

    Nothing is locked: what it needs comes in the newest version that it allows.
    """
    assert shutil.which("npm"), "npm is needed (Debian: apt-get install npm)"
    options = ["--ignore-scripts", "--no-package-lock", "--no-save", "--no-audit", "--no-fund"]
    await _finish("npm", "install", "--prefix", str(folder), *options, package, cwd=folder)


async def _finish(*command: str, cwd: Path, **environment: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=os.environ | environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    text = output.decode()
    assert process.returncode == 0, text
    return text
