"""Logging: structlog, as lines for a person or as JSON, the standard library's records included.

Our own lines take the short way: through the standard library each would cost twice as much.
"""

import json
import logging
import re
import sys
import traceback
from contextlib import suppress
from typing import Any, Final

import orjson
import structlog

from service.observability import context
from service.settings import Settings

_SHARED: Final[list[Any]] = [
    context.merge_context,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]

# PostgreSQL quotes whole rows in the details of errors: hashes of passwords, what people wrote.
_DETAIL: Final = re.compile(
    r"\nDETAIL: .*?"
    r"(?=\n(?:HINT: |\[SQL: |\(Background on |\n(?:The above|During handling)|[ |+]*Traceback)|\Z)",
    re.DOTALL,
)


class _Lines:
    """Writes a logger's lines to standard error; a full disk or a closed pipe stops no request."""

    def __init__(self, name: str = "service") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(line + "\n")

    debug = info = warning = error = critical = msg


def configure_logging(settings: Settings) -> None:
    """Send every log line to standard error in the format of LOG_FORMAT."""
    rendering = _rendering(settings)
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    # It announces that it looks; what ran, the commands tell.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.basicConfig(handlers=[handler], level=settings.log_level, force=True)
    structlog.configure(
        processors=[*_SHARED, *rendering],
        logger_factory=_Lines,
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        cache_logger_on_first_use=True,
    )


def _rendering(settings: Settings) -> list[Any]:
    # Plain tracebacks: the prettier ones show local variables, passwords among them.
    exceptions = structlog.processors.ExceptionRenderer(_format_exception)
    if settings.json_logs:
        return [exceptions, structlog.processors.JSONRenderer(_write_json)]
    return [exceptions, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]


def _write_json(line: Any, default: Any) -> str:
    try:
        return orjson.dumps(line, default).decode()
    except TypeError:  # what only Python calls text or numbers: surrogates, more than 64 bits
        return json.dumps(line, default=default)


def _format_exception(exc_info: Any) -> str:
    return _DETAIL.sub(
        "\nDETAIL:  left out", "".join(traceback.format_exception(*exc_info))
    ).rstrip()
