"""What handlers of jobs get, and what they may raise."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from service.db.database import Database
from service.mail import Mailer
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class JobContext:
    """What the worker lends to the handlers of its jobs."""

    settings: Settings
    database: Database
    mailer: Mailer


# A handler may run twice for one job: it must come to the same.
Handler = Callable[[JobContext, Mapping[str, Any]], Awaitable[None]]
