"""The request id and the trace of a request, passed on to the jobs that it causes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from service.observability import tracing
from service.observability.context import bound, current


def inject() -> dict[str, str]:
    """Return the headers of a new job: the request id and the `traceparent`, if there are any."""
    request_id = current().get("request_id")
    cause = {"request_id": request_id} if request_id else {}
    return cause | tracing.headers()


@contextmanager
def job_context(name: str, job_id: int, headers: Mapping[str, object]) -> Iterator[str | None]:
    """Join the log lines and spans of a block to the request that caused the job.

    `headers` are those that `inject` returned when the job was queued. The trace's id is returned
    where the trace is exported.
    """
    request_id = headers.get("request_id")
    cause = {"request_id": str(request_id)} if request_id else {}
    with (
        bound(job=name, job_id=job_id, **cause),
        tracing.span(f"job {name}", "CONSUMER", headers) as span,
    ):
        if span:
            span.set_attributes({"job.id": job_id, **cause})
        yield tracing.exported_trace_id(span) if span else None
