"""The state of this process and of the database, as its checks and metrics see it."""

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class _Seen:
    """What was seen of the database so far: no results until all of its checks have ended."""

    results: Results = field(default_factory=dict)
    schema: str | None = None
    postgres: str | None = None
    jobs: Mapping[str, int] | None = None


async def read_status(app: Service) -> dict[str, object]:
    """Return the state of the process, and of the database what that answers within 2 s."""
    seen = _Seen()
    try:
        await app.database.probe(partial(_see, seen, app.readiness_checks))
    except Unavailable as error:
        seen.results = seen.results or {"database": unusable_reason(error)}
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


async def _see(seen: _Seen, checks: Mapping[str, Check], connection: AsyncConnection) -> None:
    seen.results = {"database": None, **await run_checks(checks, connection)}
    revisions = await connection.run_sync(current_revisions)
    seen.schema = max(revisions, default=None)
    seen.postgres = await connection.scalar(_POSTGRES)
    # At last, because readiness does not depend on the queue, which may be locked.
    if revisions:
        counted = await count_jobs(connection)
        seen.jobs = {state: int(number) for (state,), number in counted.items()}


def _show_check(name: str, problem: str | None) -> dict[str, object]:
    return {"name": name, "ok": problem is None, "problem": problem}


def _show_replica(app: Service) -> Mapping[str, float | None] | None:
    if app.replica is None:
        return None
    lag = app.replica.watcher.lag
    return {"lag_seconds": lag if math.isfinite(lag) else None}
