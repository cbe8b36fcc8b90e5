"""The watch of a standby and its primary, which outlives every failure."""

import asyncio

from structlog.testing import capture_logs

from service.db.errors import DatabaseUnavailable
from service.db.replica.watcher import keep_following


async def test_watch_goes_on_after_any_failure_and_ends_when_cancelled() -> None:
    failures = [DatabaseUnavailable(), RuntimeError("unforeseen")]
    followed = asyncio.Event()

    async def follow() -> None:
        if failures:
            raise failures.pop(0)
        followed.set()
        await asyncio.Event().wait()

    with capture_logs() as logs:
        task = asyncio.create_task(keep_following(follow, "primary"))
        await asyncio.wait_for(followed.wait(), 10)
    assert [(line["event"], line["server"]) for line in logs] == [
        ("database not watched", "primary"),
        ("watch failed", "primary"),
    ]
    task.cancel()
    await asyncio.wait([task], timeout=10)
    assert task.cancelled()
