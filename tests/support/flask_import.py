"""Running the import, and what it leaves behind."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from click.testing import Result

from service.settings import Settings

Everything = dict[str, list[dict[str, Any]]]


@dataclass
class Import:
    """The outcome of one run; `counts`: read, added, here already, refused."""

    code: int
    output: str
    counts: dict[str, tuple[int, ...]]
    refused: dict[tuple[str, str], str]


async def run_import(
    invoke: Callable[..., Result], settings: Settings, url: str, *options: str
) -> Import:
    """Run `service import-flask` on the test's database."""
    path = settings.data_dir / "report.jsonl"
    arguments = ("import-flask", url, f"--report={path}", *options)
    result = await asyncio.to_thread(invoke, *arguments, database_url=settings.database_dsn)
    lines = re.findall(r"^(Users|Posts): (.*)\.$", result.output, re.MULTILINE)
    counts = {
        table.lower(): tuple(int(number) for number in re.findall(r"\d+", words.replace(",", "")))
        for table, words in lines
    }
    return Import(result.exit_code, result.output, counts, read_report(path))


def read_report(path: Path) -> dict[tuple[str, str], str]:
    """The reasons of a report, by table and id."""
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert all(set(line) == {"table", "id", "reason"} for line in lines)
    found = {(line["table"], line["id"]): line["reason"] for line in lines}
    assert len(found) == len(lines)
    return found


async def everything(db: "asyncpg.Connection[Any]") -> Everything:
    """All accounts and posts, and the counters."""
    tables = ("users", "posts", "post_counts", "author_post_counts")
    return {
        table: [dict(row) for row in await db.fetch(f"SELECT * FROM {table} ORDER BY 1, 2")]
        for table in tables
    }
