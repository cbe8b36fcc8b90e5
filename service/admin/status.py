"""The state of this process and of the database, as its checks and metrics see it."""

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.auth.passwords import Passwords
from service.db.checks import Check, Results, run_checks
from service.db.failures import unusable_reason
from service.db.schema_version import current_revisions, head_revision
from service.errors import Unavailable
from service.jobs.queue import count_jobs
from service.posts.stream import PostStream
from service.web.server.application import Service

NOT_CHECKED: Final = "not checked, because of another problem"
_POSTGRES: Final = text("SHOW server_version")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was seen of the database: nothing but the problem where it does not answer."""

    results: Results
    schema: str | None = None
    postgres: str | None = None
    jobs: Mapping[str, int] | None = None


async def read_status(app: Service) -> dict[str, object]:
    """Return the state of the process, and of the database where that answers within 2 s."""
    try:
        seen = await app.database.probe(partial(_see, app.readiness_checks))
    except Unavailable as error:
        seen = _Seen({"database": unusable_reason(error)})
    results = {"shutdown": app.shutdown_state.problem, **seen.results}
    checks = [
        _show_check(name, results.get(name, NOT_CHECKED))
        for name in ("shutdown", "database", *app.readiness_checks)
    ]
    return {
        "ready": all(check["ok"] for check in checks),
        "checks": checks,
        "version": version("service"),
        "python": platform.python_version(),
        "schema": {"code": head_revision(), "database": seen.schema},
        "postgres": seen.postgres,
        "started_at": app.started_at,
        "pool": app.database.usage()._asdict(),
        "hashing": {"pending": app.component(Passwords).waiting},
        "streams": {"open": app.component(PostStream).clients},
        "jobs": seen.jobs,
        "replica": _show_replica(app),
    }


async def _see(checks: Mapping[str, Check], connection: AsyncConnection) -> _Seen:
    results = {"database": None, **await run_checks(checks, connection)}
    revisions = await connection.run_sync(current_revisions)
    jobs = None
    if revisions:
        counted = await count_jobs(connection)
        jobs = {state: int(number) for (state,), number in counted.items()}
    postgres = await connection.scalar(_POSTGRES)
    return _Seen(results, max(revisions, default=None), postgres, jobs)


def _show_check(name: str, problem: str | None) -> dict[str, object]:
    return {"name": name, "ok": problem is None, "problem": problem}


def _show_replica(app: Service) -> Mapping[str, float | None] | None:
    if app.replica is None:
        return None
    lag = app.replica.watcher.lag
    return {"lag_seconds": lag if math.isfinite(lag) else None}
