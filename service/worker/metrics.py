"""What a worker measures: its jobs, mails and clean-ups, and when it last looked for jobs."""

from collections import Counter
from itertools import product
from time import perf_counter
from typing import Final

from pgqueuer.domain.errors import RetryRequested

from service.jobs import failed
from service.mail import Mailer, MailMessage, Undeliverable
from service.observability.histogram import Labels, Series
from service.observability.metrics import Metrics
from service.settings import Settings
from service.worker.handlers import HANDLERS, cleanups
from service.worker.liveness import Heartbeat

# In seconds: a short job takes 0.01, a mail a minute at most, and some jobs change many rows.
JOB_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

DONE: Final = "done"
RETRIED: Final = "retried"
FAILED: Final = "failed"
PUT_BACK: Final = "put_back"
JOB_OUTCOMES: Final = (DONE, RETRIED, FAILED, PUT_BACK)
MAIL_OUTCOMES: Final = ("sent", "refused", "failed")


class WorkerMetrics:
    """The counters of one worker, shown among `metrics`; each series is there from the start."""

    def __init__(self, metrics: Metrics, settings: Settings, heartbeat: Heartbeat) -> None:
        self.mails: Final = Counter[Labels]({(outcome,): 0 for outcome in MAIL_OUTCOMES})
        self.deleted: Final = Counter[Labels]({(name,): 0 for name in cleanups(settings)})
        durations = metrics.add_histogram(
            "job_duration_seconds",
            "From taking a job in hand to its outcome.",
            ("job", "outcome"),
            JOB_BUCKETS,
        )
        self._durations: dict[Labels, Series] = {
            key: durations.series(*key) for key in product(HANDLERS, JOB_OUTCOMES)
        }
        metrics.add_counter(
            "mails", "Mails by what the mail server said.", ("outcome",), lambda: self.mails
        )
        metrics.add_counter(
            "cleanup_deleted", "Rows that the clean-ups deleted.", ("of",), lambda: self.deleted
        )
        metrics.add_gauge(
            "worker_last_poll_timestamp_seconds",
            "When the database last answered a look for jobs; before that, the start.",
            lambda: heartbeat.polled_at,
        )

    def job(self, name: str, trace_id: str | None) -> "JobTimer":
        """Return a context that measures the job in it, whose trace becomes an exemplar."""
        return JobTimer(self._durations, name, trace_id)


class JobTimer:
    """Measures the job that is in its block, by how the block ends."""

    def __init__(self, durations: dict[Labels, Series], name: str, trace_id: str | None) -> None:
        self._durations = durations
        self._trace_id = trace_id
        self._name = name

    def __enter__(self) -> None:
        """Begin to measure."""
        self._start = perf_counter()

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        """Record the outcome."""
        seconds = perf_counter() - self._start
        self._durations[self._name, _outcome(error)].observe(seconds, self._trace_id)


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return DONE
    if isinstance(error, RetryRequested):
        return PUT_BACK if error.reason in failed.NO_FAILURES else RETRIED
    return FAILED


class CountedMailer:
    """A mailer that counts what became of each mail; one that was cancelled is not counted."""

    def __init__(self, mailer: Mailer, mails: Counter[Labels]) -> None:
        self._mailer = mailer
        self._mails = mails

    async def send(self, mail: MailMessage) -> None:
        """Send a mail. Raises what the mailer does."""
        try:
            await self._mailer.send(mail)
        except Undeliverable:
            self._mails["refused",] += 1
            raise
        except Exception:
            self._mails["failed",] += 1
            raise
        self._mails["sent",] += 1
