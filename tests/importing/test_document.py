"""docs/moving-from-flask.md tells the truth."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.importing.source import TABLES
from service.settings import PROJECT
from tests.support.command import environment
from tests.support.flask_service import fill, post, user

DOCUMENT = (PROJECT / "docs" / "moving-from-flask.md").read_text()


@pytest.mark.proof
async def test_documented_steps_of_the_move_work_as_they_stand(
    empty_url: str, sqlite_url: str, tmp_path: Path
) -> None:
    await asyncio.to_thread(fill, sqlite_url, [user(1)], [post(1, author=1)])
    steps = re.findall(r"^   ```bash\n(.*?)^   ```", DOCUMENT, re.DOTALL | re.MULTILINE)
    command = f'service() {{ {sys.executable} -m service "$@"; }}\n'
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-euc", command + "\n".join(steps)],
        cwd=tmp_path,
        env=environment(pythonpath=PROJECT, database_url=empty_url, old=sqlite_url),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = re.findall(r"^Posts: (.*)\.$", done.stdout, re.MULTILINE)
    assert told == [
        "1 read, 1 would be added, 0 here already, 0 refused",
        "1 read, 1 added, 0 here already, 0 refused",
        *["1 read, 0 added, 1 here already, 0 refused"] * 2,
    ]
    here: asyncpg.Connection[Any] = await asyncpg.connect(empty_url)
    assert await here.fetchval("SELECT count(*) FROM posts") == 1
    await here.close()


def test_copied_columns_are_documented() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", DOCUMENT, re.MULTILINE)
    told = {table: tuple(re.findall(r"`(\w+)`", columns)) for table, columns in rows}
    assert told == TABLES
