"""Programs that know the service from its document alone, in an environment of their own.

What they need, plugins of pytest among it, would change how the suite itself runs.
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

from service.settings import PROJECT

PROGRAMS = PROJECT / ".venv-clients" / "bin"


async def run(program: str, *arguments: str, cwd: Path, **environment: str) -> str:
    """Run one of them to its end, which must be a good one; what it wrote."""
    assert (PROGRAMS / program).exists(), "`make proof` installs what this needs"
    process = await asyncio.create_subprocess_exec(
        str(PROGRAMS / program),
        *arguments,
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
