"""What Prometheus reads at /metrics."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from quart import Blueprint, Quart, Response, current_app

from service.db.database import Database
from service.db.pool import PoolUsage
from service.observability.metrics import SAMPLE_INTERVAL, Metrics
from service.web.openapi import answers
from service.web.ratelimit import unlimited

log: Final = structlog.get_logger(__name__)

MULTIPROCESS_DIR: Final = "PROMETHEUS_MULTIPROC_DIR"

blueprint: Final = Blueprint("metrics", __name__)


def metrics(app: Quart) -> Metrics:
    """The application's metrics."""
    found: Metrics = app.extensions["metrics"]
    return found


@blueprint.get("/metrics")
@unlimited
@answers(200, media_type="text/plain", description="The metrics in Prometheus' text format.")
async def read_metrics() -> Response:
    """Read the service's metrics."""
    text = await metrics(current_app).render(current_app.extensions["database"])
    return Response(text, content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _folder() -> Path | None:
    name = os.environ.get(MULTIPROCESS_DIR)
    if not name:
        return None
    folder = Path(name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def init_app(app: Quart, database: Database) -> None:
    """Measure the application."""
    measured = app.extensions["metrics"] = Metrics(_folder())
    for part, documentation in (
        ("size", "Connections that may be open."),
        ("in_use", "Connections at work."),
        ("waiting", "Requests that wait for a connection."),
    ):
        read = partial(_part_of, database.usage, part)
        measured.add_gauge(f"database_pool_{part}", documentation, read)
    if measured.shared:
        app.while_serving(lambda: _keep_sampling(measured))


def _part_of(usage: Callable[[], PoolUsage], part: str) -> float:
    value: int = getattr(usage(), part)
    return value


async def _keep_sampling(measured: Metrics) -> AsyncGenerator[None, None]:
    async def sample() -> None:
        while True:
            measured.sample()
            await asyncio.sleep(SAMPLE_INTERVAL)

    task = asyncio.create_task(sample())
    yield
    task.cancel()
