"""The worker: takes jobs from the queue and does them, until it is stopped.

Any number of workers may run; each job is one worker's at a time. The jobs of a worker that died
are taken over by the others once it has not been heard of for `heartbeat_timeout`.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import structlog
from pgqueuer.core.applications import PgQueuer
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import Job, Schedule
from pgqueuer.domain.types import Channel
from sqlalchemy.exc import SQLAlchemyError

from service.db.database import Database
from service.db.errors import DRIVER_ERRORS
from service.db.failures import failure_reason
from service.errors import Unavailable
from service.jobs import failed, queue
from service.jobs.context import Handler, JobContext
from service.mail import Undeliverable, make_mailer, refuse_unusable_sender
from service.observability import propagation
from service.observability.metrics import Metrics
from service.settings import Settings
from service.worker.cleanup import CLEANUP_TIMES, clean_up
from service.worker.driver import PatientDriver, open_driver
from service.worker.handlers import HANDLERS
from service.worker.listener import LAST_RETRY, pause
from service.worker.liveness import Heartbeat
from service.worker.metrics import CountedMailer, WorkerMetrics
from service.worker.observation import observed
from service.worker.queries import WorkerQueries

BATCH: Final = 5
CANCEL_EACH: Final = 1  # seconds
SCHEMA_WAIT: Final = 5.0  # seconds between two looks at a schema that is not at head
CONCURRENCY: Final = 10  # jobs at a time in one worker; pgqueuer wants at least two batches

DATABASE_ERRORS: Final = (*DRIVER_ERRORS, SQLAlchemyError, Unavailable)

log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerTiming:
    """The worker's waits, in seconds.

    A job that fails is tried again after `first_retry`, then twice as long each time, up to
    `longest_retry`; half of each wait is chance. After `attempts`, about three days, it is kept
    as failed.
    """

    first_retry: float = 1
    longest_retry: float = 3600
    attempts: int = 84
    # How often an older job for the same address is asked after.
    order: float = 0.5
    # How often the queue is looked at unasked: a notification may be lost.
    poll: float = 5
    heartbeat_timeout: float = 30

    def wait(self, attempts: int) -> timedelta:
        """How long to wait after so many failures before this one."""
        longest = min(self.first_retry * 2 ** min(attempts, 30), self.longest_retry)
        return timedelta(seconds=random.uniform(longest / 2, longest))  # noqa: S311


async def run_worker(
    settings: Settings,
    stop: asyncio.Event,
    timing: WorkerTiming | None = None,
    metrics: Metrics | None = None,
) -> None:
    """Do jobs until `stop` is set, then finish those in hand; when cancelled, put them back.

    What ends a run early (the database restarts, its schema is behind) is logged, and the worker
    starts again. What it measures is shown among `metrics`; without them they are its own, served
    on WORKER_METRICS_BIND. Raises SettingsError where mails cannot be sent as the settings say,
    or where WORKER_HEARTBEAT_FILE or WORKER_METRICS_BIND cannot be used.
    """
    heartbeat = Heartbeat(settings.worker_heartbeat_file)
    await refuse_unusable_sender(settings)
    async with observed(settings, heartbeat, stop, metrics) as measured:
        await _run_again_and_again(settings, stop, timing or WorkerTiming(), heartbeat, measured)


async def _run_again_and_again(
    settings: Settings,
    stop: asyncio.Event,
    timing: WorkerTiming,
    heartbeat: Heartbeat,
    measured: WorkerMetrics,
) -> None:
    database = Database(settings)
    mailer = CountedMailer(make_mailer(settings), measured.mails)
    context = JobContext(settings, database, mailer)
    try:
        while not stop.is_set():
            heartbeat.beat()
            try:
                if await _schema_is_ready(database, stop, heartbeat):
                    await _WorkerRun(context, timing, heartbeat, measured).work(stop)
                continue
            except DATABASE_ERRORS as error:
                if stop.is_set():
                    break
                log.warning("database away, worker starts again", reason=failure_reason(error))
            await pause(stop, LAST_RETRY)
    finally:
        await database.close()


async def _schema_is_ready(database: Database, stop: asyncio.Event, heartbeat: Heartbeat) -> bool:
    """Wait for a server that takes writes, with the schema at head; False when stopped before."""
    while not stop.is_set():
        async with database.read_session() as session:
            connection = await session.connection()
            problem = await database.find_problem(connection)
        if problem is None:
            return True
        log.warning("worker waits", reason=problem)
        heartbeat.beat()
        await pause(stop, SCHEMA_WAIT)
    return False


class _WorkerRun:
    """One run of pgqueuer, from a database that answers to its loss or the worker's end."""

    def __init__(
        self,
        context: JobContext,
        timing: WorkerTiming,
        heartbeat: Heartbeat,
        measured: WorkerMetrics,
    ) -> None:
        self._context = context
        self._timing = timing
        self._heartbeat = heartbeat
        self._measured = measured
        self._in_hand: set[asyncio.Task[Any]] = set()

    async def work(self, stop: asyncio.Event) -> None:
        """Do jobs until `stop` is set. Raises what ended the run before."""
        # The jobs' own connections lead to the same server as the listener's: when that is silent,
        # the next job must not wait for it as long as a statement may take.
        leave_server = self._context.database.leave_server
        async with open_driver(
            self._context.settings, stop, self._heartbeat, leave_server
        ) as driver:
            application = self._application(driver)
            # An event of its own: pgqueuer also sets it, when a run fails.
            stopping = asyncio.create_task(_pass_on(stop, application.shutdown))
            running = asyncio.create_task(self._run(application))
            log.info("worker ready")
            try:
                # Never cancelled itself, for it would drop its jobs.
                await asyncio.shield(running)
            finally:
                stopping.cancel()
                application.shutdown.set()
                # Again, because wait_for of Python 3.11 may lose a cancellation.
                while not running.done():
                    for task in self._in_hand:
                        task.cancel()
                    await asyncio.wait([running], timeout=CANCEL_EACH)

    def _application(self, driver: PatientDriver) -> PgQueuer:
        application = PgQueuer(
            driver,
            channel=Channel(queue.NAMES.channel),
            queries=queue.make_queries(driver, WorkerQueries),
        )
        for name, handler in HANDLERS.items():
            application.entrypoint(name, on_failure="hold")(self._entrypoint(handler))

        async def run_clean_ups(_schedule: Schedule) -> None:
            await clean_up(self._context, self._measured.deleted)

        application.schedule("cleanup", CLEANUP_TIMES)(run_clean_ups)
        return application

    async def _run(self, application: PgQueuer) -> None:
        await application.run(
            dequeue_timeout=timedelta(seconds=self._timing.poll),
            batch_size=BATCH,
            max_concurrent_tasks=CONCURRENCY,
            heartbeat_timeout=timedelta(seconds=self._timing.heartbeat_timeout),
            # The listener mends itself, and polling finds jobs meanwhile.
            shutdown_on_listener_failure=False,
            log_aggregation_interval=timedelta(minutes=5),
        )

    def _entrypoint(self, handler: Handler) -> Callable[[Job], Awaitable[None]]:
        async def run(job: Job) -> None:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - a coroutine runs in a task
            self._in_hand.add(task)
            try:
                with (
                    propagation.job_context(job.entrypoint, job.id, job.headers or {}) as trace_id,
                    self._measured.job(job.entrypoint, trace_id),
                ):
                    await self._do(job, handler)
            finally:
                self._in_hand.discard(task)

        return run

    async def _do(self, job: Job, handler: Handler) -> None:
        """Do a job. Raises RetryRequested, or the error for which the job failed for good."""
        try:
            await self._await_turn(job)
            await handler(self._context, json.loads(job.payload or b"{}"))
        except (RetryRequested, Undeliverable):
            raise
        except asyncio.CancelledError:
            # pgqueuer would drop the job as cancelled; it goes back instead.
            raise RetryRequested(timedelta(0), failed.STOPPED) from None
        except Exception as error:
            reason = failed.reason_of(error)
            if job.attempts + 1 >= self._timing.attempts:
                raise failed.JobFailed(reason) from error
            wait = self._timing.wait(job.attempts)
            seconds = round(wait.total_seconds(), 1)
            log.warning("job failed, trying again", reason=reason, wait=seconds)
            raise RetryRequested(wait, reason) from error

    async def _await_turn(self, job: Job) -> None:
        """Put the job back while an older one for the same address is not done."""
        to: Any = (job.headers or {}).get("to")
        if to is None:
            return
        async with self._context.database.read_session() as session:
            due = await queue.older_job_waits(session, job.entrypoint, job.id, to)
        if due is not None:
            wait = timedelta(seconds=due + self._timing.order)
            raise RetryRequested(wait, failed.NOT_ITS_TURN)


async def _pass_on(source: asyncio.Event, target: asyncio.Event) -> None:
    await source.wait()
    target.set()
