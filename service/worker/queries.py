"""pgqueuer's queries, as a worker needs them."""

from datetime import timedelta

import structlog
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.models import Job, TracebackRecord

from service.db.errors import DRIVER_ERRORS
from service.db.failures import failure_reason

log = structlog.get_logger(__name__)


class WorkerQueries(Queries):
    """Queries by which no job fails for good because the database was away."""

    async def retry_job(
        self, job: Job, delay: timedelta, traceback_record: TracebackRecord | None
    ) -> None:
        """Put a job back, to be done after a delay.

        pgqueuer takes an error here for one of the job's own, and keeps the job as failed, although
        it may be back in the queue already. A job that is not is in this worker's hands, and taken
        from them by another one when its heartbeats stop.
        """
        try:
            await super().retry_job(job, delay, traceback_record)
        except DRIVER_ERRORS as error:
            log.warning("job may not be back in the queue", reason=failure_reason(error))
