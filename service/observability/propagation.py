"""What ties the log lines and spans of one cause together, from a request to its jobs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from service.observability import tracing
from service.observability.context import bound, current


def inject() -> dict[str, str]:
    """What a job must carry, so that it is known which request caused it."""
    request_id = current().get("request_id")
    caused = {"request_id": request_id} if request_id else {}
    return caused | tracing.headers()


@contextmanager
def job_context(name: str, job_id: int, headers: Mapping[str, object]) -> Iterator[None]:
    """Do a job: its log lines and spans belong to what caused it. `headers` are its own."""
    request_id = headers.get("request_id")
    caused = {"request_id": str(request_id)} if request_id else {}
    with (
        bound(job=name, job_id=job_id, **caused),
        tracing.span(f"job {name}", "CONSUMER", headers) as span,
    ):
        if span:
            span.set_attributes({"job.id": job_id, **caused})
        yield
