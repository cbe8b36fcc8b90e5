"""What is measured while a worker runs, and where it is shown."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.db.schema_version import head_revision
from service.observability.metrics import Metrics
from service.observability.process_metrics import ProcessMetrics
from service.settings import Settings
from service.worker.certificate import public_certificate
from service.worker.liveness import Heartbeat
from service.worker.metrics import WorkerMetrics
from service.worker.metrics_port import metrics_port


@asynccontextmanager
async def observed(
    settings: Settings, heartbeat: Heartbeat, stop: asyncio.Event, metrics: Metrics | None
) -> AsyncIterator[WorkerMetrics]:
    """Measure a worker in the block, among an application's metrics or with a port of its own.

    Raises SettingsError where that port cannot be listened on.
    """
    if metrics is not None:
        async with public_certificate(settings, metrics):
            yield WorkerMetrics(metrics, settings, heartbeat)
        return

    def is_alive() -> bool:
        # At its end the worker looks for no job any more.
        return stop.is_set() or heartbeat.is_recent

    metrics = Metrics()
    measured = WorkerMetrics(metrics, settings, heartbeat)
    async with (
        ProcessMetrics(metrics, head_revision()).running(),
        metrics_port(settings.worker_metrics_bind, metrics, is_alive),
        public_certificate(settings, metrics),
    ):
        yield measured
