"""Logging by structlog, for a person or as JSON, including records of the standard library.

The service's own lines bypass the standard library, through which each costs twice as much.
"""

import json
import logging
import re
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import orjson
import structlog
from structlog.typing import ExcInfo, Processor

from service.observability import context
from service.settings import Settings

_SHARED_PROCESSORS: Final[list[Processor]] = [
    context.merge_context,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]

# PostgreSQL's error details quote whole rows, password hashes and people's texts among them.
_DETAIL: Final = re.compile(
    r"\nDETAIL: .*?"
    r"(?=\n(?:HINT: |\[SQL: |\(Background on |\n(?:The above|During handling)|[ |+]*Traceback)|\Z)",
    re.DOTALL,
)


class _StderrLogger:
    """A logger to standard error; a full disk or a closed pipe loses lines but fails no request."""

    def __init__(self, name: str = "service") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(line + "\n")

    debug = info = warning = error = critical = msg


def configure_logging(settings: Settings) -> None:
    """Write all logs to standard error, in the format of LOG_FORMAT and from LOG_LEVEL on."""
    renderers = _renderers(settings)
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED_PROCESSORS,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    # Alembic logs every look at the schema; the commands print which migrations they ran.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.basicConfig(handlers=[handler], level=settings.log_level, force=True)
    structlog.configure(
        processors=[*_SHARED_PROCESSORS, *renderers],
        logger_factory=_StderrLogger,
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        cache_logger_on_first_use=True,
    )


def _renderers(settings: Settings) -> list[Processor]:
    # Plain tracebacks, because the prettier ones show local variables, passwords among them.
    exceptions = structlog.processors.ExceptionRenderer(_format_exception)
    if settings.json_logs:
        return [exceptions, structlog.processors.JSONRenderer(_write_json)]
    return [exceptions, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]


def _write_json(line: object, default: Callable[[object], object]) -> str:
    try:
        return orjson.dumps(line, default).decode()
    except TypeError:  # orjson refuses lone surrogates and integers of more than 64 bits
        return json.dumps(line, default=default)


def _format_exception(exc_info: ExcInfo) -> str:
    return _DETAIL.sub(
        "\nDETAIL:  left out", "".join(traceback.format_exception(*exc_info))
    ).rstrip()
