"""What the features let operators see, as metrics."""

from collections.abc import Mapping
from typing import Any

from service.jobs import queue
from service.observability.metrics import Labels, Metrics
from service.web.limiter import Limiter


def watch(measured: Metrics, extensions: Mapping[str, Any]) -> None:
    """Measure the features of an application, by what it holds."""
    limiter: Limiter = extensions["limiter"]
    # Hashing and streams exist between start and end only.
    measured.watch(
        "password_hashes_pending",
        "Passwords that are being hashed, or wait for it.",
        lambda: getattr(extensions.get("passwords"), "waiting", 0),
    )
    measured.watch(
        "streams_open",
        "Event streams that are open.",
        lambda: getattr(extensions.get("post_stream"), "clients", 0),
    )
    measured.watch_totals(
        "ratelimit_refused",
        "Requests that a limit refused.",
        ("limit",),
        lambda: _refused(limiter),
    )
    measured.watch_totals(
        "ratelimit_failures",
        "Hits that the server of REDIS_URL did not count.",
        (),
        lambda: {(): limiter.failures},
    )
    measured.watch_database("jobs", "Jobs in the queue.", ("state",), queue.count_jobs)


def _refused(limiter: Limiter) -> Mapping[Labels, float]:
    return {(name,): count for name, count in limiter.refused.items()}
