"""What the features let operators see, as metrics."""

from collections.abc import Mapping
from typing import Any

from service.jobs import queue
from service.observability.metrics import Labels, Metrics
from service.web.limiter import Limiter


def add_gauge(measured: Metrics, extensions: Mapping[str, Any]) -> None:
    """Measure the features of an application, by what it holds."""
    limiter: Limiter = extensions["limiter"]
    # Hashing and streams exist between start and end only.
    measured.add_gauge(
        "password_hashes_pending",
        "Passwords that are being hashed, or wait for it.",
        lambda: getattr(extensions.get("passwords"), "waiting", 0),
    )
    measured.add_gauge(
        "streams_open",
        "Event streams that are open.",
        lambda: getattr(extensions.get("post_stream"), "clients", 0),
    )
    measured.add_counter(
        "ratelimit_refused",
        "Requests that a limit refused.",
        ("limit",),
        lambda: _refused(limiter),
    )
    measured.add_counter(
        "ratelimit_failures",
        "Hits that the server of REDIS_URL did not count.",
        (),
        lambda: {(): limiter.failures},
    )
    measured.add_query_gauge("jobs", "Jobs in the queue.", ("state",), queue.count_jobs)


def _refused(limiter: Limiter) -> Mapping[Labels, float]:
    return {(name,): count for name, count in limiter.refused.items()}
