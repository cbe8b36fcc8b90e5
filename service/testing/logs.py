"""The service's log, where pytest finds it."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from service.observability import context


@contextmanager
def logged_by_logging() -> Iterator[None]:
    """Pass the service's log on to the standard library's, unless structlog is configured.

    structlog itself would print, which pytest cannot capture between the phases of a test.
    """
    if structlog.is_configured():
        yield
        return
    # Plain tracebacks, because the prettier ones show local variables, which takes seconds.
    renderer = structlog.dev.ConsoleRenderer(
        colors=False, exception_formatter=structlog.dev.plain_traceback
    )
    structlog.configure(
        processors=[context.merge_context, renderer],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    try:
        yield
    finally:
        structlog.reset_defaults()
